"""The work of a stage, as a worker loads it from the object store: jobs, or trials of a search."""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ray
import torch

from rum_ray.cluster.queue import Lease
from rum_ray.jobs import Context, Job, SearchJob, is_fused, train_together
from rum_ray.jobs.ledger import Result, objective
from rum_ray.training.recipe import Recipe

BLOCK = 1000
"""Jobs per object of the object store."""


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt of a job.

    Attributes:
        number: number of the job.
        job: the job.
        error: its error, if it failed.
        result: its small result, if it has one.
        seconds: time that it took; of fused jobs, an equal share.
        stored: bytes of its arrays in the store; 0 where fused jobs or trials saved them.
    """

    number: int
    job: Any
    error: Exception | None = None
    result: Any = None
    seconds: float = 0.0
    stored: int = 0


Run: TypeAlias = Callable[[Context, Lease], Iterator[Outcome]]
"""Runs the jobs of a lease and yields their outcomes, as they end."""


@dataclass(frozen=True)
class Place:
    """The data and the store, and what a worker needs to check that it can use them.

    Attributes:
        context: handle of the context; see `shared_data`.
        recipe: recipe of the first models; a worker trains one batch with it.
        marker: a file that the command has written into the store; None for a store at a URI.
    """

    context: Any
    recipe: Recipe
    marker: str | None


@dataclass(frozen=True)
class JobWork:
    """Jobs whose results go into the store.

    Attributes:
        stage: name of the stage, for metrics.
        place: the data and the store.
        blocks: references of the jobs, `BLOCK` in each.
    """

    stage: str
    place: Place
    blocks: Sequence[Any]

    def load(self) -> Run:
        """Return the function that runs leases; it holds one block at a time."""
        job = reader(self.blocks)
        return lambda context, lease: run_jobs(context, {n: job(n) for n in lease.jobs})


@dataclass(frozen=True)
class TrialWork:
    """Units of searches; the payload of a unit has its search, its seed and its answers.

    Attributes:
        stage: name of the stage, for metrics.
        place: the data and the store.
        searches: the searches.
        began: time of its start, in seconds since 1970.
    """

    stage: str
    place: Place
    searches: Sequence[SearchJob]
    began: float

    def load(self) -> Run:
        """Return the function that runs leases."""
        return self._run

    def _run(self, context: Context, lease: Lease) -> Iterator[Outcome]:
        """Judge each unit and yield its result, with J, cost and rung for Tune."""
        for number in lease.jobs:
            payload, start = lease.payloads[number], time.monotonic()
            search = self.searches[payload["search"]]
            job = search.proposed(payload["answers"], payload["seed"])
            (error,) = attempt(context, [job], context.get_or_compute_locked)
            if error is not None:
                yield Outcome(number, job, error)
                continue
            value = context.load(job).value
            made = context.store.provenance(context.key(job)).get("time", self.began)
            found = {
                "objective": objective(Result.read(value), search.config),
                "cost": search.unit_cost(job.plan, context),
                "rung": payload["seed"],
                # As text, since Tune flattens mappings.
                "result": json.dumps(value),
                "before": made < self.began,
            }
            yield Outcome(number, job, result=found, seconds=time.monotonic() - start)


def in_blocks(jobs: Sequence[Job]) -> list[Any]:
    """Put jobs into the object store, and return the references of their blocks."""
    return [ray.put(jobs[start : start + BLOCK]) for start in range(0, len(jobs), BLOCK)]


def reader(blocks: Sequence[Any]) -> Callable[[int], Job]:
    """Return a function that reads a job by its number; it holds one block at a time."""
    block = functools.lru_cache(maxsize=1)(lambda number: ray.get(blocks[number]))
    return lambda index: block(index // BLOCK)[index % BLOCK]


def run_jobs(context: Context, jobs: Mapping[int, Job]) -> Iterator[Outcome]:
    """Run jobs, fused ones together; yield their outcomes."""
    numbers = [*jobs]
    together = bool(numbers) and is_fused(jobs[numbers[0]])
    stored = 0

    def compute(job: Job) -> None:
        nonlocal stored
        stored = sum(array.nbytes for array in context.get_or_compute(job).arrays.values())

    for some in [numbers] if together else [[number] for number in numbers]:
        start, stored = time.monotonic(), 0
        errors = attempt(context, [jobs[number] for number in some], compute)
        seconds = (time.monotonic() - start) / len(some)
        for number, error in zip(some, errors, strict=True):
            yield Outcome(number, jobs[number], error, None, seconds, stored)


def attempt(
    context: Context, jobs: Sequence[Any], compute: Callable[[Job], object]
) -> Sequence[Exception | None]:
    """Run one job, or several together; return the error of each, if any.

    Jobs that run out of memory together are run again in halves. The error is returned without its
    frames, which would hold memory of the device. An error of the device itself is raised: it lasts
    as long as this process, which Train then replaces.
    """
    try:
        if len(jobs) > 1:
            return train_together(context, jobs)
        compute(jobs[0])
    except Exception as error:
        if is_out_of_memory(error):
            raised = torch.OutOfMemoryError(str(error))
        elif isinstance(error, torch.AcceleratorError):
            raise
        else:
            return [error] * len(jobs)
    else:
        return [None]
    torch.cuda.empty_cache()
    if len(jobs) == 1:
        return [raised]
    half = len(jobs) // 2
    first = attempt(context, jobs[:half], compute)
    return [*first, *attempt(context, jobs[half:], compute)]


def is_out_of_memory(error: Exception) -> bool:
    """Return True if a device has no memory left, whichever library reports it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "ALLOC_FAILED" in text)
