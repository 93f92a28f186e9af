"""What a run would make and how long that would take, without making any of it."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.seeding import Seed
from rum_ray.study.study import SPACES, Study
from rum_ray.study.table import table
from rum_ray.training.runtime import LocalRuntime
from rum_ray.work import Job, TrainPoolModel
from rum_ray.work.search import FINALISTS, FRESH_SEEDS

STAGE_SECONDS = 12.0
"""What starting the workers of a stage takes."""
PROBE_STEPS = 20


@dataclass(frozen=True)
class Forecast:
    """What a stage would make.

    Attributes:
        stage: its name.
        total: its jobs, or trials.
        missing: those that are not in the store; all, as long as it cannot be known.
        trainings: what the missing ones cost at most, in trainings of the original.
        seconds: what they would take on the experiment's workers.
    """

    stage: str
    total: int
    missing: int
    trainings: float
    seconds: float


def forecast(study: Study) -> list[Forecast]:
    """Return what each stage of `run` would make."""
    search, seeds = study.experiment.search, len(study.originals)
    first = study.first_jobs
    scored = _missing(study, study.scorers) == 0
    missing = [job for job in first if not study.context.has(job)]
    cost = sum(_cost(study, job) for job in missing)
    found = [_forecast(study, "train", len(first), len(missing), cost)]
    jobs = study.retrain_jobs if scored else None
    total = 2 * seeds + (search.seeds if search else 0)
    left = total if jobs is None else _missing(study, jobs)
    found.append(_forecast(study, "retrain", total, left, left))
    searched = True
    cap = search.max_cost if search else 0.5
    if search is not None:
        done = _done(study) if scored else 0
        trials, left = (n * search.trials for n in (len(SPACES), len(SPACES) - done))
        found.append(_forecast(study, "search", trials, left, left * search.seeds * cap))
        searched = done == len(SPACES)
        finals = len(SPACES) * FINALISTS
        left = _missing(study, study.validations) if searched else finals
        found.append(_forecast(study, "validate", finals, left, left * FRESH_SEEDS * cap))
        searched = searched and left == 0
    plans = 3 * len(study.experiment.compare) + (study.experiment.plan is not None)
    plans += 2 * (search is not None)
    left = (
        _missing(study, [job for row in table(study) for job in row.jobs])
        if scored and searched
        else (plans + 3) * seeds
    )
    found.append(
        _forecast(study, "rows", (plans + 3) * seeds, left, min(left, plans * seeds) * cap)
    )
    return found


def seconds_per_training(study: Study) -> float:
    """Return how long one original takes: as it took, or by a probe of a few steps."""
    context, recipe = study.context, study.experiment.recipe
    for original in study.originals:
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


def _forecast(study: Study, stage: str, total: int, missing: int, cost: float) -> Forecast:
    """Return a stage's forecast from its cost in trainings."""
    seconds = cost * seconds_per_training(study) / study.experiment.cluster.workers
    return Forecast(stage, total, missing, cost, seconds + (STAGE_SECONDS if missing else 0.0))


def _done(study: Study) -> int:
    """Return how many searches are finished."""
    context = study.context
    return sum(context.store.has(search.key(context)) for search in study.searches)


def _missing(study: Study, jobs: Sequence[Job]) -> int:
    """Return how many of the jobs are not done."""
    return sum(not study.context.has(job) for job in jobs)


def _cost(study: Study, job: Job) -> float:
    """Return a job's cost in trainings of the original."""
    recipe = study.experiment.recipe
    share = job.fraction if isinstance(job, TrainPoolModel) else 1.0
    return share * job.recipe.epochs / recipe.epochs
