"""Forecast of a command: the jobs, the cost and the time of each stage, without running them.

`--dry-run`, `rum-ray estimate` and the comparison in the report share it. Numbers of jobs and costs
are upper bounds until earlier results are in the store. Times are expected ones.
"""

import contextlib
import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rum_ray.data.batches import PREDICTION_BATCH
from rum_ray.errors import RumRayError
from rum_ray.jobs import CentroidDistances, EmbeddingMoments, SearchJob, is_fused
from rum_ray.jobs.job import Keyed
from rum_ray.jobs.train import MAX_TOGETHER
from rum_ray.study.calibration import CALIBRATION_SECONDS, Calibration, calibrate
from rum_ray.study.costs import job_cost
from rum_ray.study.rehearsal import drawn_units, rehearse
from rum_ray.study.stages import Stage, wanted_stages
from rum_ray.study.study import Study
from rum_ray.study.times import job_seconds, training_seconds
from rum_ray.study.timing import Clock, StageForecast

START_SECONDS = 20.0
"""Time to start Ray and the workers of a command, on two cores; its stages share them."""
STAGE_SECONDS = {"jobs": 0.5, "stream": 6.0, "search": 3.0}
"""Fixed time of a stage with missing jobs on two cores: Data starts actors, Tune its trials."""
LEAST_SECONDS = 30.0
"""A command that is expected to be shorter is not compared with its forecast."""


@dataclass(frozen=True)
class Work:
    """The expected times of the missing jobs of one part of a stage.

    Attributes:
        seconds: of each job on one worker, in the order of the queue.
        serial: time in the driver, during which the workers wait.
    """

    seconds: Sequence[float] = ()
    serial: float = 0.0

    def wall(self, workers: int) -> float:
        """Return the wall time on a number of workers, each of which takes the next job."""
        return self.serial + _wall(self.seconds, workers)


def _wall(seconds: Sequence[float], workers: int) -> float:
    """Return the time after which the last worker is idle."""
    idle = [0.0] * min(workers, max(1, len(seconds)))
    for each in seconds:
        heapq.heapreplace(idle, idle[0] + each)
    return max(idle)


@dataclass(frozen=True)
class Forecast:
    """The forecast of one part of a stage.

    Attributes:
        stage: name of the part, as progress reports it.
        kind: how the executor runs the stage: "jobs", "stream" or "search".
        total: jobs, or searches; an upper bound until earlier results are in the store.
        missing: jobs that are not in the store; all, as long as that cannot be known.
        trainings: cost of the missing ones at most, in trainings of the original.
        jobs: the missing jobs, after drawn results of earlier stages where there are none yet;
            empty if they cannot be known.
        work: expected times of the missing jobs.
    """

    stage: str
    kind: str
    total: int
    missing: int
    trainings: float
    jobs: Sequence[Keyed] = ()
    work: Work = field(default_factory=Work)


def forecast(
    study: Study, command: str = "run", measure: Callable[[Study], Calibration] = calibrate
) -> list[Forecast]:
    """Return the forecast of each stage of a command, in order.

    Args:
        study: the experiment and its data.
        command: a key of `COMMANDS`.
        measure: returns the speed of this machine; it is called if a job is missing.
    """
    lines = counted(study, command)
    return timed(study, lines, measure(study)) if any(line.missing for line in lines) else lines


def counted(study: Study, command: str) -> list[Forecast]:
    """Return the forecast without times."""
    lines: list[Forecast] = []
    open_stages: set[str] = set()
    rehearsal: Study | None = None
    for name, stage in wanted_stages(study, command).items():
        if open_stages & {*stage.after}:
            if rehearsal is None:
                rehearsal = rehearse(study, scored=not open_stages & {"train", "distances"})
            parts = _unknown(stage, study, rehearsal)
        else:
            parts = [_known(stage, study, *part) for part in stage.parts(study).items()]
        lines += parts
        if any(part.missing for part in parts):
            open_stages.add(name)
    return lines


def timed(study: Study, lines: Sequence[Forecast], rates: Calibration) -> list[Forecast]:
    """Return the forecast with the expected times of the missing jobs.

    The start of the workers belongs to the first stage that has some. Each such stage has its
    fixed time.
    """
    found, start = [], START_SECONDS
    for line in lines:
        work = _work(study, line, rates)
        if line.missing:
            fixed = start + STAGE_SECONDS[line.kind]
            work, start = replace(work, serial=work.serial + fixed), 0.0
        found.append(replace(line, work=work))
    return found


def expect(study: Study, command: str, clock: Clock) -> None:
    """Add the forecast of each stage to a clock, at the start of a command that takes some time.

    The calibration takes about 1 % of the time that a first, short one expects.
    """
    workers, lines = study.experiment.cluster.workers, counted(study, command)
    if not any(line.missing for line in lines):
        return

    def total(lines: Sequence[Forecast]) -> float:
        return sum(line.work.wall(workers) for line in lines)

    lines = timed(study, lines, calibrate(study, 0.0))
    if total(lines) < LEAST_SECONDS:
        return
    budget = min(CALIBRATION_SECONDS, total(lines) / 100)
    for line in timed(study, lines, calibrate(study, budget)):
        clock.expect(
            line.stage, StageForecast(line.missing, line.trainings, line.work.wall(workers))
        )


def counts(line: Forecast, workers: int) -> dict[str, Any]:
    """Return the numbers of a forecast as plain values, with the time on a number of workers."""
    return {
        "stage": line.stage,
        "total": line.total,
        "missing": line.missing,
        "trainings": line.trainings,
        "seconds": line.work.wall(workers),
    }


def summed(forecasts: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the sums by stage of the plain values of several forecasts."""
    found: dict[str, dict[str, Any]] = {}
    for line in (line for lines in forecasts for line in lines):
        known = found.setdefault(line["stage"], {"stage": line["stage"]})
        known |= {key: known.get(key, 0) + line[key] for key in line if key != "stage"}
    return [*found.values()]


def _known(stage: Stage, study: Study, name: str, jobs: Sequence[Keyed]) -> Forecast:
    """Return the counts of a part whose jobs are known."""
    everything = study.context.distinct(jobs)
    missing = study.context.missing(everything)
    cost = sum(job_cost(study, job) for job in missing)
    return Forecast(name, stage.kind, len(everything), len(missing), cost, missing)


def _unknown(stage: Stage, study: Study, rehearsal: Study | None) -> list[Forecast]:
    """Return the bounds of a stage whose jobs depend on missing results, with rehearsed jobs."""
    jobs: Mapping[str, Sequence[Keyed]] = {}
    if rehearsal is not None:
        with contextlib.suppress(RumRayError):
            jobs = {
                name: rehearsal.context.missing(rehearsal.context.distinct(part))
                for name, part in stage.parts(rehearsal).items()
            }
    return [
        Forecast(
            *(each.name, stage.kind, each.jobs, each.jobs),
            trainings=each.trainings,
            jobs=jobs.get(each.name, ()),
        )
        for each in stage.bound(study)
    ]


def _work(study: Study, line: Forecast, rates: Calibration) -> Work:
    """Return the expected times of the missing jobs of a part."""
    if line.missing and not line.jobs:
        # The jobs cannot be known: the bound on their cost gives the time.
        once = training_seconds(rates, study.recipe, len(study.context.bundle.train))
        return Work([line.trainings * once / line.missing] * line.missing)
    if line.kind == "stream":
        return _streamed(study, line.jobs, rates)
    if line.kind == "search":
        return _searched(study, line.jobs, rates)
    fused = [job_seconds(study, job, rates) for job in line.jobs if is_fused(job)]
    single = [job_seconds(study, job, rates) for job in line.jobs if not is_fused(job)]
    chunks = [sum(fused[at : at + MAX_TOGETHER]) for at in range(0, len(fused), MAX_TOGETHER)]
    return Work([*single, *chunks])


def _searched(study: Study, jobs: Sequence[Keyed], rates: Calibration) -> Work:
    """Return the units of all searches, each a job: one search fills the pauses of another."""
    seconds = list[float]()
    for search in jobs:
        assert isinstance(search, SearchJob)
        plans = drawn_units(search, study.context)
        known = {plan: job_seconds(study, search.unit(plan, 0), rates) for plan in {*plans}}
        seconds += [known[plan] for plan in plans]
    return Work(seconds)


def _streamed(study: Study, jobs: Sequence[Keyed], rates: Calibration) -> Work:
    """Return the ranges of all passes over D, each a job; tests of the sums run in the driver."""
    total, forward = len(study.context.bundle.train), rates.models[study.recipe].forward
    looks = sum(2 if isinstance(job, CentroidDistances) else 1 for job in jobs)
    ranges, tested = -(-total // PREDICTION_BATCH), 0
    tested = sum(isinstance(job, EmbeddingMoments) for job in jobs)
    each = looks * forward * total / ranges
    return Work([each] * ranges if jobs else [], serial=tested * rates.two_sample)
