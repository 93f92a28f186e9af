"""Read the outcome of a study from the store.

Each part has a loader of its own, because a command may run some stages only. `load_examples` needs
the stage "train", `load_forget_set` also "embed", `load_searches` all searches, and `load_methods`
the stages that measure the given rows. `load_outcome` needs all stages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rum_ray import config
from rum_ray.data.bundle import DataBundle, complement
from rum_ray.evaluation.tow import Evaluation
from rum_ray.experiment import plan_as_dicts
from rum_ray.jobs import (
    Context,
    SearchJob,
    SubsetMoments,
    UnlearnShadow,
    pool_logits,
    relative_cost,
    shadow_logits,
)
from rum_ray.jobs.ledger import Trial as Tried
from rum_ray.jobs.ledger import mean_of, objective
from rum_ray.jobs.search import Finalist
from rum_ray.results.environment import environment
from rum_ray.results.outcome import (
    Examples,
    ForgetSet,
    Measured,
    Method,
    Outcome,
    Pool,
    PoolAnswers,
    SearchOutcome,
    Shadows,
    Trial,
)
from rum_ray.results.schema import (
    DataSummary,
    ExperimentSummary,
    FinalistSummary,
    Pick,
    PlanStep,
    StageSummary,
)
from rum_ray.study.costs import training_cost, training_count
from rum_ray.study.methods import (
    METHODS,
    Row,
    embedding_job,
    method_of,
    method_rows,
    pool_jobs,
    shadow_jobs,
)
from rum_ray.study.study import Study
from rum_ray.study.timing import StageTime


def load_outcome(study: Study, stages: Iterable[StageTime] = ()) -> Outcome:
    """Return the outcome of a finished study.

    Args:
        study: all of its stages are finished.
        stages: wall times.
    """
    experiment = study.experiment
    return Outcome(
        experiment=experiment,
        identity=ExperimentSummary(experiment.name, experiment.digest, config.dump(experiment)),
        environment=environment(experiment.recipe.threads, experiment.cluster.workers),
        data=_data(study.context.bundle),
        examples=load_examples(study),
        forget=load_forget_set(study),
        measured=load_methods(study, method_rows(study)),
        searches=load_searches(study),
        ranges=_ranges(study),
        tuning=sum(job.ledger(study.context).spent for job in study.row_searches.values()),
        references={
            name: sum(map(training_count, known.models)) for name, known in study.references.items()
        },
        originals=len(study.search_originals),
        stages=tuple(map(stage_summary, stages)),
    )


def stage_summary(stage: StageTime) -> StageSummary:
    """Return the wall time of a stage, and its forecast if there is one."""
    return StageSummary(**{**asdict(stage), "forecast": stage.forecast})


def load_examples(study: Study) -> Examples:
    """Return the training examples and their scores."""
    bundle, truth = study.context.bundle, study.context.bundle.true_labels
    return Examples(
        experiment=study.experiment,
        ids=bundle.train.ids,
        names=bundle.train.names,
        labels=bundle.train.y.numpy(),
        true_labels=None if truth is None else truth.numpy(),
        flipped=bundle.flipped,
        classes=bundle.num_classes,
        scores=study.scores,
        proxies=study.scoring.proxies,
        pool=_pool(study),
        cost=sum(training_cost(study, job) for job in study.scoring.jobs),
    )


def load_forget_set(study: Study) -> ForgetSet:
    """Return the forget set, its subsets and their embeddings."""
    return ForgetSet(
        rows=study.forget,
        subsets={subset.name: subset.rows for subset in study.partition},
        by_distance=study.experiment.forget.by_distance,
        embedded=tuple(job.load(study.context) for job in study.moments),
        pool=study.scoring.pool_bits(study.forget),
    )


def load_methods(study: Study, rows: Sequence[Row]) -> Measured:
    """Return the measured methods.

    Args:
        study: the jobs of `rows` are finished.
        rows: retrained, retrained again and original models first.
    """
    methods = tuple(_method(study, row) for row in rows)
    return Measured(
        config=study.experiment.evaluate,
        attacks=study.experiment.evaluate.attacks,
        seeds=study.experiment.seeds,
        subsets=study.partition.names,
        methods=methods,
        pool=_pool_answers(study, methods[0].evaluations[0]),
    )


def load_searches(study: Study) -> tuple[SearchOutcome, ...]:
    """Return the finished searches, in their order; empty without a search."""
    return tuple(_search(study, name, search) for name, search in study.searches.items())


def _data(bundle: DataBundle) -> DataSummary:
    """Return sizes, classes and label noise of the data."""
    flipped = bundle.flipped
    return DataSummary(
        name=bundle.name,
        train=len(bundle.train),
        valid=len(bundle.valid),
        test=len(bundle.test),
        reserved=None if bundle.reserved is None else len(bundle.reserved),
        classes=tuple(bundle.class_names),
        label_noise=bundle.label_noise.fraction if bundle.label_noise else None,
        flipped=None if flipped is None else int(flipped.sum()),
    )


def _pool(study: Study) -> Pool | None:
    """Return the models whose scores choose the forget set; None if the scores are others."""
    scoring = study.scoring
    if not scoring.scoring_half:
        return None
    return Pool(
        models=len(scoring.scoring_half),
        halves=scoring.pool_halves,
        held_out=len(scoring.reference_half),
        statistics=scoring.pool_size.statistics,
        reached=scoring.pool_size.reached,
    )


def _method(study: Study, row: Row) -> Method:
    """Return a measured method."""
    context, streams, shadows = study.context, [], shadow_jobs(study, [row])
    if study.experiment.evaluate.residual:
        found = (embedding_job(study, job) for job in row.jobs)
        streams = [job for job in found if job is not None]
    return Method(
        name=row.method,
        unlearner=row.unlearner,
        source=row.source,
        trials=row.trials,
        plan=() if row.plan is None else _steps(plan_as_dicts(row.plan)),
        evaluations=tuple(job.load(context) for job in row.jobs),
        moments=tuple(job.moments(context) for job in streams),
        streamed=sum(isinstance(job, SubsetMoments) for job in streams),
        shadows=_shadows(context, shadows) if shadows else None,
    )


def _steps(plan: Iterable[Any]) -> tuple[PlanStep, ...]:
    """Return the steps of a plan in plain values."""
    return tuple(PlanStep(**step) for step in plan)


def _shadows(context: Context, jobs: Sequence[UnlearnShadow]) -> Shadows:
    """Return the shadow models of a plan."""
    total = len(context.bundle.train)
    return Shadows(*shadow_logits(context, jobs), cost=sum(job.cost(total) for job in jobs))


def _pool_answers(study: Study, retrained: Evaluation) -> PoolAnswers | None:
    """Return the answers of the pool on forget set, retain sample and non-members."""
    jobs = pool_jobs(study)
    if not jobs:
        return None
    forget = study.partition.rows
    retain = complement(forget, len(study.context.bundle.train))[retrained.sample()]
    rows = np.concatenate([forget, retain])
    logits, included, unseen = pool_logits(study.context, jobs, rows)
    parts = {"forget": slice(len(forget)), "retain": slice(len(forget), None)}
    sets = {name: (logits[:, part], included[:, part]) for name, part in parts.items()}
    return PoolAnswers(sets, unseen)


def _ranges(study: Study) -> float:
    """Return the cost of the range tests of learning rates, in trainings of the original."""
    tests = [job for tested in study.range_tests.values() for _, job in tested]
    total = len(study.context.bundle.train)
    return sum(relative_cost(job.plan, job.recipe, total) for job in tests)


def _search(study: Study, name: str, search: SearchJob) -> SearchOutcome:
    """Return a finished search."""
    context, ledger = study.context, search.ledger(study.context)
    finalists = tuple(_finalist(study, search, each) for each in search.finalists(context))
    parts = [parent.first(context, count).spent for parent, count in search.parents]
    best = finalists[0]
    return SearchOutcome(
        name=name,
        method=method_of(study, search),
        label=METHODS[search.name],
        space=search.name,
        config=search.config,
        cost_limit=search.config.cost_limit,
        starts=len(search.starts),
        trials=tuple(_trial(context, search, trial) for trial in ledger.trials),
        drawn_again=ledger.drawn_again,
        pick=Pick(best.plan, best.objective, best.validated, best.cost),
        finalists=finalists,
        spent=ledger.spent,
        whole=ledger.spent + sum(parts),
        cost=search.cost(context),
    )


def _finalist(study: Study, search: SearchJob, finalist: Finalist) -> FinalistSummary:
    """Return a plan that was compared on fresh seeds."""
    fresh = [objective(result, search.config) for result in finalist.fresh]
    names = ("tow", "auc_gap", "svm_gap", "examples")
    return FinalistSummary(
        plan=_steps(plan_as_dicts(finalist.plan)),
        cost=search.plan_cost(finalist.plan, len(study.context.bundle.train)),
        objective=finalist.searched,
        validated=float(np.mean(fresh)),
        worst=min(fresh),
        **{name: mean_of(finalist.fresh, name) for name in names},
        dropped=finalist.dropped,
    )


def _trial(context: Context, search: SearchJob, trial: Tried) -> Trial:
    """Return a trial, with the provenance of its results."""
    units = [search.unit(trial.plan, seed) for seed in range(len(trial.results))]
    made = [context.store.provenance(context.key(unit)) for unit in units]
    by_seed, names = trial.by_seed(search.config), ("tow", "auc_gap", "svm_gap", "examples")

    def total(key: str) -> Any:
        values = [each[key] for each in made if key in each]
        return sum(values) if values else None

    return Trial(
        start=trial.start,
        inherited=trial.inherited,
        status=trial.status,
        objective=float(np.mean(by_seed)),
        **{name: trial.mean(name) for name in names},
        cost=trial.cost,
        by_seed=tuple(by_seed),
        subsets=trial.subsets,
        plan=_steps(plan_as_dicts(trial.plan)),
        seconds=total("seconds"),
        steps_run=total("steps_run"),
        cache_hits=total("cache_hits"),
    )
