"""The rows of the report: which methods are measured, and by which jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rum_ray.jobs import (
    EmbeddingMoments,
    Evaluate,
    Job,
    PoolLogits,
    SearchJob,
    SubsetMoments,
    TrainModel,
    UnlearnedModel,
    UnlearnShadow,
)
from rum_ray.rum import Partition, Plan
from rum_ray.search.spaces import SpaceName, whole
from rum_ray.seeding import Seed
from rum_ray.study.spaces import found
from rum_ray.study.study import Study
from rum_ray.unlearning import Unlearner

METHODS: Mapping[SpaceName, str] = {
    "V0": "best_single",
    "V1": "refined",
    "V2": "ordered",
    "V3": "untuned",
    "V4": "rum",
}
"""What report.json calls each space's search, and the row of its pick but the last one's."""


@dataclass(frozen=True, eq=False)
class Row:
    """A method in the report, and the jobs that measure it, one a seed.

    Attributes:
        method: as report.json names it.
        jobs: one a reported seed.
        unlearner: for methods that use a single one.
        source: where a plan's values come from: "search", "file", or another reference of a search.
        trials: how many trials they were chosen from.
        plan: the steps; None for models that are measured as they are.
    """

    method: str
    jobs: tuple[Evaluate, ...]
    unlearner: str | None = None
    source: str | None = None
    trials: int | None = None
    plan: Plan | None = None

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.method == "rum":
            return f"rum ({self.source})"
        return f"{self.method} {self.unlearner}" if self.unlearner else self.method


def table(study: Study) -> list[Row]:
    """Return all rows of the report; searches must be finished."""
    if study.plan_only:
        return [*_models(study), planned(study)]
    rows = _models(study)
    for unlearner in study.experiment.compare:
        rows += _compared(study, unlearner)
    for name, search in study.searches.items():
        rows.append(_searched(study, search))
        if name == "V1":
            rows.append(_shuffled(study, search))
    if study.experiment.plan is not None:
        rows.append(planned(study))
    return rows


def planned(study: Study) -> Row:
    """Return the row of the file's plan.

    Raises:
        ConfigError: the file has none.
    """
    plan = Plan.assign(study.partition, study.require_plan(), study.experiment.retain)
    return Row("rum", _evaluations(study, plan, keep=True), source="file", plan=plan)


def _models(study: Study) -> list[Row]:
    """Return the rows of models as they are: references, noise floor and originals."""
    models = {
        "retrained": study.retrained,
        "retrained_again": study.retrained_again,
        "original": study.originals,
    }
    return [
        Row(name, tuple(_evaluation(study, model, model.seed) for model in group))
        for name, group in models.items()
    ]


def method_of(study: Study, search: SearchJob) -> str:
    """Return what the row of a search's pick is called: "rum" for the last space."""
    return "rum" if search.name == study.rungs[-1].name else METHODS[search.name]


def _searched(study: Study, search: SearchJob) -> Row:
    """Return the row of a search's pick."""
    plan, config = found(search, study.context, study.partition), study.require_search()
    method, single = method_of(study, search), search.single(plan)
    is_rum, counts = method == "rum", search.config.reference == config.reference
    return Row(
        method,
        _evaluations(study, plan, keep=is_rum and counts),
        unlearner=None if is_rum or single is None else single.name,
        source="search" if counts else search.config.reference,
        trials=config.trials,
        plan=plan,
    )


def _shuffled(study: Study, search: SearchJob) -> Row:
    """Return the row of the control: what a search found, step by step, on random subsets."""
    pick = search.pick(study.context)
    unlearners, single = [step.unlearner for step in pick.steps], search.single(pick)
    steps = dict(zip(study.shuffled.names, unlearners, strict=True))
    plan = Plan.assign(study.shuffled, steps, study.experiment.retain)
    jobs, trials = _evaluations(study, plan), search.config.trials
    name = None if single is None else single.name
    return Row("shuffled", jobs, name, "search", trials, plan)


def _compared(study: Study, unlearner: Unlearner) -> list[Row]:
    """Return an unlearner's rows: vanilla, shuffle and RUM^F.

    Each takes the values of its best trial: vanilla of the search on the whole forget set, the
    other two of the search on refined subsets in order. Without one, the file's values count.
    """
    single, refined = (unlearner, 0), (unlearner, 0)
    # Values other than the defaults are meant as they are.
    untuned = unlearner == type(unlearner)()
    if study.experiment.search is not None and untuned:
        searches = (study.searches.get(name) for name in ("V0", "V1"))
        single, refined = (_best(study, unlearner, search) for search in searches)
    parts: tuple[tuple[str, tuple[Unlearner, int], Partition], ...] = (
        ("vanilla", single, whole(study.partition)),
        ("shuffle", refined, study.shuffled),
        ("rum_f", refined, study.partition),
    )
    rows = []
    for method, (tuned, trials), partition in parts:
        same = dict.fromkeys(partition.names, tuned)
        plan = Plan.assign(partition, same, study.experiment.retain)
        source = "search" if trials else "file"
        jobs = _evaluations(study, plan)
        rows.append(Row(method, jobs, unlearner.name, source, trials or None, plan))
    return rows


def _best(study: Study, unlearner: Unlearner, search: SearchJob | None) -> tuple[Unlearner, int]:
    """Return an unlearner's best values in a search for one, and from how many trials."""
    if search is None:
        return unlearner, 0
    own = []
    for trial in search.load(study.context):
        tried = search.single(search.plan(trial["answers"]))
        judged = trial["status"] == "complete" and trial["cost"] <= search.config.budget
        if judged and type(tried) is type(unlearner):
            own.append((tried, trial["objective"]))
    if not own:
        return unlearner, 0
    return max(own, key=lambda pair: pair[1])[0], len(own)


def _evaluations(study: Study, plan: Plan, keep: bool = False) -> tuple[Evaluate, ...]:
    """Return the jobs that measure a plan on each reported seed, on test."""
    return tuple(_evaluation(study, o, o.seed / "plan", plan, keep) for o in study.originals)


def _evaluation(
    study: Study, model: TrainModel, seed: Seed, plan: Plan | None = None, keep: bool = False
) -> Evaluate:
    """Return the job that measures one model on test."""
    config = study.experiment.evaluate
    relearn = None if config.relearn is None else config.relearn.unlearner
    return Evaluate(model, study.partition, seed, "test", plan, keep, config.members, relearn)


def pool_jobs(study: Study) -> list[PoolLogits]:
    """Return what asks the pool for its logits; nothing if no attack wants them."""
    wanted = [a for a in study.experiment.evaluate.of_pool if a != "u_lira"]
    return [PoolLogits(model) for model in study.scoring.pool] if wanted else []


def measuring_jobs(study: Study, rows: Sequence[Row]) -> list[Job]:
    """Return the jobs that measure these rows, and ask the pool if an attack wants that."""
    return [*(job for row in rows for job in row.jobs), *pool_jobs(study)]


def shadow_jobs(study: Study, rows: Sequence[Row]) -> list[UnlearnShadow]:
    """Return what runs each plan "rum" of these rows on each pool model, for U-LiRA."""
    if "u_lira" not in study.experiment.evaluate.also:
        return []
    plans = [row.plan for row in rows if row.plan is not None and row.jobs[0].keep]
    return [UnlearnShadow(model, plan) for plan in plans for model in study.scoring.pool]


def residual_jobs(study: Study, rows: Sequence[Row]) -> list[SubsetMoments]:
    """Return what the residuals of these rows need besides the originals' moments."""
    if not study.experiment.evaluate.residual:
        return []
    jobs = [embedding_job(study, evaluation) for row in rows for evaluation in row.jobs]
    return [job for job in jobs if isinstance(job, SubsetMoments)]


def embedding_job(study: Study, evaluation: Evaluate) -> EmbeddingMoments | SubsetMoments | None:
    """Return what measures the embeddings of an evaluation's model; None if it is not kept."""
    partition, layer, model = study.partition, study.experiment.embedding, evaluation.model
    if evaluation.plan is not None:
        kept = UnlearnedModel(evaluation)
        return SubsetMoments(kept, partition, layer) if evaluation.keep else None
    if model.forget is None:
        return EmbeddingMoments(model, partition, layer)
    return SubsetMoments(model, partition, layer)
