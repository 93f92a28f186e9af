"""Executors: where the jobs of a study run.

`LocalExecutor` runs them in this process, or in several processes of the standard library.
`rum_ray.cluster.executor.RayExecutor` runs them on a Ray cluster. Results have the same bits.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from rum_ray.errors import ConfigError, RumRayError
from rum_ray.experiment import Experiment
from rum_ray.jobs import Context, EvaluatePlan, Job, SearchJob, is_fused, train_together
from rum_ray.jobs.job import Streamed
from rum_ray.jobs.ledger import Result
from rum_ray.jobs.stream import stream_here, stream_jobs
from rum_ray.jobs.train import MAX_TOGETHER
from rum_ray.study.progress import ProgressState
from rum_ray.study.worker_pool import Task, WorkerPool, failure
from rum_ray.training.runtime import most_here

OnProgress: TypeAlias = Callable[[ProgressState], ProgressState]
"""Receives the progress of the current jobs; returns that of the whole stage, for monitors."""
Cancelled: TypeAlias = Callable[[], Sequence[Job]]
"""Returns the jobs that have become unnecessary."""


class Executor(Protocol):
    """Runs jobs, streams and searches; a context manager that stops its workers at the end.

    Workers start with the first call. A `RumRayError` of a job is permanent: it is raised once the
    other jobs are done.
    """

    def configure(self, experiment: Experiment) -> None:
        """Take the name of an experiment, and its `cluster` where the caller has given none."""
        ...

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *error: object) -> None: ...

    def run(
        self,
        stage: str,
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress,
        cancelled: Cancelled = tuple,
    ) -> None:
        """Run jobs that are not in the store yet, at least one."""
        ...

    def stream(self, jobs: Sequence[Streamed], context: Context) -> None:
        """Stream the embeddings of D for jobs that are not in the store yet."""
        ...

    def search(
        self,
        stage: str,
        searches: Sequence[SearchJob],
        context: Context,
        on_progress: OnProgress,
    ) -> None:
        """Run searches and save them; results of units already in the store are reused."""
        ...


def check_address(address: str) -> None:
    """Raise ConfigError unless an address is local, none, auto or HOST:PORT."""
    host, _, port = address.rpartition(":")
    is_pair = re.fullmatch(r"[^\s/@]+", host) and re.fullmatch(r"[0-9]{1,5}", port)
    if address not in ("local", "none", "auto") and not (is_pair and 0 < int(port) < 2**16):
        raise ConfigError(f"--address {address}: expected local, none, auto or HOST:PORT.")


class LocalExecutor:
    """Runs everything on this machine, without Ray.

    Args:
        workers: number of processes, at most four per core; 1 runs everything in this process,
            where a debugger works.
            With more, guard the entry of a script with `if __name__ == "__main__":`, as
            `multiprocessing` requires.

    Example:
        >>> import rum_ray as rr
        >>> rr.LocalExecutor().workers
        1
    """

    def __init__(self, workers: int = 1) -> None:
        """Create an executor without processes; they start with the first jobs.

        Raises:
            ValueError: `workers` is less than 1.
        """
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.workers = min(workers, most_here())
        self._pool: WorkerPool | None = None

    def configure(self, experiment: Experiment) -> None:
        """Do nothing: the number of processes is the caller's choice."""

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def run(
        self,
        stage: str,
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress,
        cancelled: Cancelled = tuple,
    ) -> None:
        """Run jobs; the first permanent error is raised once the other jobs are done."""
        start, errors, finished = time.monotonic(), dict[Job, RumRayError](), set[Job]()
        chunks, everything = _chunks(jobs), {*jobs}

        def wanted(number: int) -> bool:
            return not {*chunks[number]} <= {*cancelled()}

        for number, failed in self._map(
            context, [partial(_run, each, self.workers > 1) for each in chunks], wanted
        ):
            chunk = chunks[number]
            finished |= {*chunk}
            errors |= {job: e for job, e in zip(chunk, failed, strict=True) if e is not None}
            unnecessary, seconds = {*cancelled()}, time.monotonic() - start
            done, total = len(finished - unnecessary), len(everything - unnecessary)
            failures = len(errors.keys() - unnecessary)
            on_progress(ProgressState(done, total, seconds=seconds, failed=failures))
        unnecessary = {*cancelled()} if errors else set()
        for job, error in errors.items():
            if job not in unnecessary:
                raise error

    def stream(self, jobs: Sequence[Streamed], context: Context) -> None:
        """Stream the embeddings of D through this process."""
        stream_jobs(context, jobs, stream_here)

    def search(
        self,
        stage: str,
        searches: Sequence[SearchJob],
        context: Context,
        on_progress: OnProgress,
    ) -> None:
        """Run searches batch by batch, with a batch of each at a time."""
        # Optuna takes a second to import, and few commands search.
        from rum_ray.study.searches import Searches

        began, start, before = time.time(), time.monotonic(), 0
        running = Searches(searches, context)
        while not running.finished:
            batch = [*iter(running.propose, None)]
            tasks: list[Task] = [partial(_judge, running.job(each), began) for each in batch]
            for number, (value, cached) in self._map(context, tasks):
                running.tell(batch[number], Result.read(value))
                before += cached
                seconds = time.monotonic() - start
                on_progress(running.state(before, seconds))

    def _map(
        self,
        context: Context,
        tasks: Sequence[Task],
        wanted: Callable[[int], bool] = lambda number: True,
    ) -> Iterator[tuple[int, Any]]:
        """Yield the number and result of each wanted task, as they finish."""
        if self.workers == 1 or len(tasks) == 1:
            yield from ((n, task(context)) for n, task in enumerate(tasks) if wanted(n))
            return
        if self._pool is None or self._pool.context is not context:
            self._close()
            self._pool = WorkerPool(context, self.workers)
        yield from self._pool.map(tasks, wanted)


def _chunks(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return one chunk per job, and one per batch of fused models."""
    fused = [job for job in jobs if is_fused(job)]
    groups = [fused[start : start + MAX_TOGETHER] for start in range(0, len(fused), MAX_TOGETHER)]
    return [[job] for job in jobs if not is_fused(job)] + groups


def _run(jobs: Sequence[Any], isolated: bool, context: Context) -> Sequence[RumRayError | None]:
    """Run one job, or fused ones together; return for each the error that it ended with.

    Args:
        jobs: to run.
        isolated: True in a worker process, where a bug is the error of its job alone. In the
            process of the caller it is raised as it is, for a debugger.
        context: the data and the store.
    """
    try:
        if is_fused(jobs[0]):
            return train_together(context, jobs)
        context.get_or_compute(jobs[0])
    except SystemExit as error:
        # Code of a plug-in ran, as no other code of a job ends a process.
        reason = f"{type(jobs[0]).__name__}: a plug-in called sys.exit({error.code!r})."
        return [ConfigError(reason)] * len(jobs)
    except Exception as error:
        if not isolated and not isinstance(error, RumRayError):
            raise
        return [failure(type(jobs[0]).__name__, error)] * len(jobs)
    return [None] * len(jobs)


def _judge(job: EvaluatePlan, began: float, context: Context) -> tuple[Any, bool]:
    """Return the result of a unit, and True if it was in the store before the search began."""
    value = context.get_or_compute_locked(job).value
    return value, context.store.provenance(context.key(job)).get("time", began) < began
