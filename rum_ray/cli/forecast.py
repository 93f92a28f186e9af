"""What a run would make and how long that would take, without making any of it."""

import dataclasses
import operator
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rum_ray.jobs.job import Keyed
from rum_ray.jobs.search import FINALISTS, FRESH_SEEDS
from rum_ray.seeding import Seed
from rum_ray.study.costs import training_cost, trainings
from rum_ray.study.methods import (
    planned,
    pool_jobs,
    residual_jobs,
    shadow_jobs,
    table,
    unsearched_table,
)
from rum_ray.study.study import Study
from rum_ray.training.runtime import LocalRuntime
from rum_ray.unlearning.base import FORWARD_ONLY

STAGE_SECONDS = 12.0
"""What starting the workers of a stage takes."""
PROBE_STEPS = 20
_FIRST = ("train", "distances", "embed", "retrain")
_ALL = (*_FIRST, "search", "validate", "rows", "residuals", "shadows")
STAGES = {
    "run": _ALL,
    "estimate": _ALL,
    "train": ("train", "distances", "retrain"),
    "score": ("train", "distances"),
    "refine": ("train", "distances", "embed"),
    "unlearn": ("train", "distances", "unlearn"),
    "evaluate": ("train", "distances", "retrain", "evaluate"),
    "tune": ("train", "distances", "references", "search", "validate"),
    "ladder": _ALL,
    "report": (),
}
"""Which stages a verb runs."""


@dataclass(frozen=True)
class Forecast:
    """What a stage would make.

    Attributes:
        stage: its name.
        total: its jobs, or trials; at most, where the precision of the scores decides.
        missing: those that are not in the store; all, as long as it cannot be known.
        trainings: what the missing ones cost at most, in trainings of the original.
        seconds: what they would take on the experiment's workers.
    """

    stage: str
    total: int
    missing: int
    trainings: float
    seconds: float


def forecast(study: Study, verb: str = "run") -> list[Forecast]:
    """Return what each stage of a verb would make."""
    if not STAGES[verb]:
        return []
    second = seconds_per_training(study) / study.experiment.cluster.workers
    return [
        Forecast(stage, total, left, cost, cost * second + (STAGE_SECONDS if left else 0.0))
        for stage, total, left, cost in _stages(study)
        if stage in STAGES[verb]
    ]


def _stages(study: Study) -> Iterator[tuple[str, int, int, float]]:
    """Yield each stage's name, jobs, missing jobs, and their cost in trainings."""
    search, seeds = study.experiment.search, len(study.originals)
    first = study.first_jobs
    missing = study.context.missing(first)
    yield "train", len(first), len(missing), sum(training_cost(study, job) for job in missing)
    scored = _missing(study, study.scoring.scorers) == 0
    if study.distance_jobs:
        left = _missing(study, study.distance_jobs)
        yield "distances", seeds, left, 2 * left * FORWARD_ONLY / study.experiment.recipe.epochs
        scored = scored and not left
    left = _missing(study, study.moments) if scored else seeds
    yield "embed", seeds, left, left * FORWARD_ONLY / study.experiment.recipe.epochs
    referred = _referred(study, scored)
    left = _missing(study, [*study.retrained, *study.retrained_again]) if scored else 2 * seeds
    yield "retrain", *map(operator.add, (2 * seeds, left, left), referred)
    yield "references", *referred
    searched, cap = scored, search.max_cost if search else 0.5
    if search is not None:
        searches = len(search.spaces) + len(search.also)
        undone = _missing(study, [*study.searches.values()]) if scored else searches
        left = undone * search.trials
        yield "search", searches * search.trials, left, left * search.seeds * cap
        total = searches * min(FINALISTS, search.trials)
        left = total if undone else _missing(study, study.validations)
        yield "validate", total, left, left * FRESH_SEEDS * cap
        searched = scored and not left
    yield from _measured(study, searched, cap)
    if study.experiment.plan is not None:
        yield from _planned(study, scored, cap)


def _referred(study: Study, scored: bool) -> tuple[int, int, float]:
    """Return how many models the searches' references are made of, how many of them are missing."""
    search = study.experiment.search
    if search is None:
        return 0, 0, 0.0
    total = search.seeds * len(search.references)
    if not scored:
        return total, total, total - search.seeds * ("pool" in search.references)
    missing = study.context.missing(study.judged)
    return total, len(missing), sum(map(trainings, missing))


def _measured(study: Study, searched: bool, cap: float) -> Iterator[tuple[str, int, int, float]]:
    """Yield the stages that measure the rows, once their plans are known."""
    search, seeds = study.experiment.search, len(study.originals)
    kept = (search is not None) + (study.experiment.plan is not None)
    plans = 3 * len(study.experiment.compare) + (study.experiment.plan is not None)
    if search is not None:
        plans += len(search.spaces) + ("V1" in search.spaces) + len(search.also)
    asked, again = pool_jobs(study), study.experiment.evaluate.relearn
    total = (plans + 3) * seeds
    left = _missing(study, [j for row in table(study) for j in row.jobs]) if searched else total
    cost = min(left, plans * seeds) * cap
    cost += left * again.epochs / study.experiment.recipe.epochs if again else 0.0
    left += _missing(study, asked)
    yield "rows", total + len(asked), left, cost
    if study.experiment.evaluate.residual:
        total = (2 + kept) * seeds
        left = _missing(study, residual_jobs(study, table(study))) if searched else total
        yield "residuals", total, left, left * FORWARD_ONLY / study.experiment.recipe.epochs
    if study.experiment.evaluate.asks("shadows"):
        total = kept * len(study.scoring.pool)
        left = _missing(study, shadow_jobs(study, table(study))) if searched else total
        yield "shadows", total, left, left * cap * study.experiment.score.fraction


def _planned(study: Study, scored: bool, cap: float) -> Iterator[tuple[str, int, int, float]]:
    """Yield the stages of the verbs that run the file's plan alone."""
    seeds = len(study.originals)
    left = _missing(study, planned(study).jobs) if scored else seeds
    yield "unlearn", seeds, left, left * cap
    rows = unsearched_table(study) if scored else []
    asked, shadows = pool_jobs(study), shadow_jobs(study, rows)
    residuals = residual_jobs(study, rows)
    streamed = 3 * seeds if study.experiment.evaluate.residual else 0
    total = 4 * seeds + len(asked) + len(shadows) + streamed
    measuring = [job for row in rows for job in row.jobs]
    undone = _missing(study, [*measuring, *asked, *residuals, *shadows]) if scored else total
    cost = (left + _missing(study, shadows) * study.experiment.score.fraction) * cap
    cost += streamed * FORWARD_ONLY / study.experiment.recipe.epochs
    yield "evaluate", total, undone, cost


def seconds_per_training(study: Study) -> float:
    """Return how long one original takes: as it took, or by a probe of a few steps."""
    context, recipe = study.context, study.experiment.recipe
    for original in study.originals if recipe.weights is None else ():
        known = context.store.provenance(original.key(context)).get("seconds")
        if known is not None:
            return float(known)
    train = context.bundle.train
    probe = train.take(range(min(len(train), PROBE_STEPS * recipe.batch_size)))
    once = dataclasses.replace(recipe, epochs=1)
    runtime = LocalRuntime(Seed(0), threads=recipe.threads)
    once.fit(probe, runtime)
    start = time.monotonic()
    once.fit(probe, runtime)
    return (time.monotonic() - start) * len(train) / len(probe) * recipe.epochs


def _missing(study: Study, jobs: Sequence[Keyed]) -> int:
    """Return how many of these are not in the store."""
    context = study.context
    return len(context.missing(jobs))
