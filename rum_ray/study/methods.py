"""The methods in the report and the jobs that measure them."""

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
from rum_ray.partition import whole
from rum_ray.rum import Plan
from rum_ray.search.spaces import SpaceName
from rum_ray.seeding import Seed
from rum_ray.study.spaces import picked_plan
from rum_ray.study.study import Study
from rum_ray.unlearning import Unlearner

METHODS: Mapping[SpaceName, str] = {
    "V0": "best_single",
    "V1": "refined",
    "V2": "ordered",
    "V3": "untuned",
    "V4": "rum",
    "V5": "joined",
}
"""The method in report.json of each space's pick; the pick of the last space is "rum"."""


@dataclass(frozen=True, eq=False)
class Row:
    """A method in the report, and the jobs that measure it, one per seed.

    Attributes:
        method: as report.json names it.
        jobs: one per reported seed.
        unlearner: for methods that use a single one.
        source: origin of a plan's values: "search", "file", or another reference of a search.
        trials: number of trials that they were chosen from.
        plan: the steps; None for models that are measured as they are.
    """

    method: str
    jobs: tuple[Evaluate, ...]
    unlearner: str | None = None
    source: str | None = None
    trials: int | None = None
    plan: Plan | None = None


def method_rows(study: Study) -> list[Row]:
    """Return all rows of the report; the searches must be finished."""
    if study.plan_only:
        return [*_models(study), plan_row(study)]
    rows = _models(study)
    for unlearner in study.experiment.compare:
        rows += _compared(study, unlearner)
    for name, search in study.searches.items():
        # Of another reference, only the search of the last space has a row.
        if name == search.name or search.name == study.rungs[-1].name:
            rows.append(_searched(study, search))
        if name == "V1":
            rows.append(_shuffled(study, search))
    if study.experiment.plan is not None:
        rows.append(plan_row(study))
    return rows


def plan_row(study: Study) -> Row:
    """Return the row of the plan in the file.

    Raises:
        ConfigError: the file has no plan.
    """
    plan = Plan.assign(study.partition, study.require_plan(), study.experiment.retain)
    return Row("rum", _evaluations(study, plan, keep=True), source="file", plan=plan)


def _models(study: Study) -> list[Row]:
    """Return the rows without a plan: references, originals, and the noise floors."""
    models = {
        "retrained": study.retrained,
        "retrained_again": study.retrained_again,
        "original": study.originals,
        "retrained_reordered": study.retrained_reordered,
    }
    return [
        Row(name, tuple(_evaluation(study, model, model.seed) for model in group))
        for name, group in models.items()
        if group
    ]


def method_of(study: Study, search: SearchJob) -> str:
    """Return the method of a search's pick: "rum" for the last space."""
    if search.name == study.rungs[-1].name:
        return "rum"
    return "unjoined" if METHODS[search.name] == "rum" else METHODS[search.name]


def _searched(study: Study, search: SearchJob) -> Row:
    """Return the row of a search's pick."""
    plan, config = picked_plan(search, study.context, study.partition), study.require_search()
    method, single = method_of(study, search), search.single(plan)
    is_rum, counts = method == "rum", search.config.reference == config.reference
    keep = counts and method in ("rum", "best_single")
    return Row(
        method,
        _evaluations(study, plan, keep),
        unlearner=None if is_rum or single is None else single.name,
        source="search" if counts else search.config.reference,
        trials=len(search.ledger(study.context).trials),
        plan=plan,
    )


def _shuffled(study: Study, search: SearchJob) -> Row:
    """Return the row of the control: the unlearners of a search's pick on random subsets."""
    pick = search.pick(study.context)
    unlearners, single = [step.unlearner for step in pick.steps], search.single(pick)
    steps = dict(zip(study.shuffled.names, unlearners, strict=True))
    plan = Plan.assign(study.shuffled, steps, study.experiment.retain)
    jobs, trials = _evaluations(study, plan), len(search.ledger(study.context).trials)
    name = None if single is None else single.name
    return Row("shuffled", jobs, name, "search", trials, plan)


def _compared(study: Study, unlearner: Unlearner) -> list[Row]:
    """Return the rows of one unlearner: vanilla, shuffle and RUM^F.

    Each row is tuned by a search of its own, all of the same size. Hyperparameters that the file
    sets are used as they are.
    """
    partitions = {
        "vanilla": whole(study.partition),
        "shuffle": study.shuffled,
        "rum_f": study.partition,
    }
    rows = []
    for method, partition in partitions.items():
        tuned, trials = unlearner, None
        search = study.row_searches.get((unlearner.name, method))
        if search is not None:
            ledger = search.ledger(study.context)
            # If no trial qualifies, the row has the values of the file.
            for best in search.best(ledger)[:1]:
                tuned, trials = search.single(best.plan) or unlearner, len(ledger.trials)
        same = dict.fromkeys(partition.names, tuned)
        plan = Plan.assign(partition, same, study.experiment.retain)
        source = "search" if trials else "file"
        jobs = _evaluations(study, plan)
        rows.append(Row(method, jobs, unlearner.name, source, trials, plan))
    return rows


def _evaluations(study: Study, plan: Plan, keep: bool = False) -> tuple[Evaluate, ...]:
    """Return the jobs that measure a plan on each reported seed, on test data."""
    return tuple(_evaluation(study, o, o.seed / "plan", plan, keep) for o in study.originals)


def _evaluation(
    study: Study, model: TrainModel, seed: Seed, plan: Plan | None = None, keep: bool = False
) -> Evaluate:
    """Return the job that measures one model on test data."""
    config = study.experiment.evaluate
    relearn = None if config.relearn is None else config.relearn.unlearner
    return Evaluate(model, study.partition, seed, "test", plan, keep, config.members, relearn)


def pool_jobs(study: Study) -> list[PoolLogits]:
    """Return the jobs that ask the pool for its logits; none if no attack needs them."""
    if not study.asks_pool:
        return []
    return [PoolLogits(model) for model in study.scoring.pool]


def measuring_jobs(study: Study, rows: Sequence[Row]) -> list[Job]:
    """Return the jobs that measure these rows, and those that ask the pool."""
    return [*(job for row in rows for job in row.jobs), *pool_jobs(study)]


def shadow_jobs(study: Study, rows: Sequence[Row]) -> list[UnlearnShadow]:
    """Return the jobs that run the plans of "rum" and "best_single" on each model of the pool.

    There are none if no attack needs shadow models.
    """
    if not study.experiment.evaluate.of_shadows:
        return []
    plans = [row.plan for row in rows if row.plan is not None and row.jobs[0].keep]
    return [UnlearnShadow(model, plan) for plan in plans for model in study.scoring.pool]


def residual_jobs(study: Study, rows: Sequence[Row]) -> list[SubsetMoments]:
    """Return the jobs that embed models of these rows, besides the originals, for residuals."""
    if not study.experiment.evaluate.residual:
        return []
    jobs = [embedding_job(study, evaluation) for row in rows for evaluation in row.jobs]
    return [job for job in jobs if isinstance(job, SubsetMoments)]


def embedding_job(study: Study, evaluation: Evaluate) -> EmbeddingMoments | SubsetMoments | None:
    """Return the job that embeds the model of an evaluation; None if its weights are not kept."""
    partition, layer, model = study.partition, study.experiment.embedding, evaluation.model
    if evaluation.plan is not None:
        kept = UnlearnedModel(evaluation)
        return SubsetMoments(kept, partition, layer) if evaluation.keep else None
    if model.forget is None:
        return EmbeddingMoments(model, partition, layer)
    return SubsetMoments(model, partition, layer)
