"""Forecast of a run: jobs, cost and time of each stage, without running any of it."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.jobs import SearchJob
from rum_ray.jobs.job import Keyed
from rum_ray.seeding import Seed
from rum_ray.study.costs import job_cost
from rum_ray.study.stages import wanted_stages
from rum_ray.study.study import Study
from rum_ray.training.runtime import LocalRuntime

STAGE_SECONDS = 12.0
"""Time to start the workers of a stage."""
PROBE_STEPS = 20


@dataclass(frozen=True)
class Forecast:
    """The forecast of one part of a stage.

    Attributes:
        stage: as progress reports it.
        total: jobs, or trials of a search; an upper bound until earlier results are in the store.
        missing: jobs that are not in the store; all, as long as that cannot be known.
        trainings: cost of the missing ones at most, in trainings of the original.
        seconds: time of the missing ones on the experiment's workers.
    """

    stage: str
    total: int
    missing: int
    trainings: float
    seconds: float


def forecast(study: Study, command: str = "run") -> list[Forecast]:
    """Return the forecast of each stage of a command, in order."""
    stages = wanted_stages(study, command)
    if not stages:
        return []
    second = seconds_per_training(study) / study.experiment.cluster.workers
    lines: list[Forecast] = []
    open_stages: set[str] = set()
    for name, stage in stages.items():
        if open_stages & {*stage.after}:
            found = [
                (each.name, each.jobs, each.jobs, each.trainings) for each in stage.bound(study)
            ]
        else:
            found = [_known(study, part, jobs) for part, jobs in stage.parts(study).items()]
        for part, total, missing, cost in found:
            seconds = cost * second + (STAGE_SECONDS if missing else 0.0)
            lines.append(Forecast(part, total, missing, cost, seconds))
            if missing:
                open_stages.add(name)
    return lines


def _known(study: Study, name: str, jobs: Sequence[Keyed]) -> tuple[str, int, int, float]:
    """Return the name, the jobs, the missing jobs and their cost of a part that is known."""
    everything = study.context.distinct(jobs)
    missing = study.context.missing(everything)
    cost = sum(job_cost(study, job) for job in missing)
    return name, _steps(everything), _steps(missing), cost


def _steps(jobs: Sequence[Keyed]) -> int:
    """Return the number of jobs; a search counts its trials."""
    return sum(job.config.trials if isinstance(job, SearchJob) else 1 for job in jobs)


def seconds_per_training(study: Study) -> float:
    """Return the time of one training: as measured, or by a probe of a few steps."""
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
