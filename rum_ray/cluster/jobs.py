"""One Ray Train run per stage: workers lease jobs from a queue until none is left.

A Train run takes seconds to start, so all jobs of a stage share one. Workers commit results to the
store and report progress alone, so a dead worker costs no finished job. Train starts as many
workers as the cluster has room for. It restarts all of them if one dies, or with another number if
the cluster changes; the queue then hands out the missing jobs.
"""

import contextlib
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import ray
from ray.train import FailureConfig, RunConfig
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rum_ray.cluster.queue import Queue
from rum_ray.cluster.worker import BLOCK, work
from rum_ray.errors import RumRayError, StalledError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context, Job, is_fused
from rum_ray.study.executor import Cancelled
from rum_ray.study.progress import ProgressState

OnProgress: TypeAlias = Callable[[ProgressState], object]
"""Receives the progress of the jobs, about twice per second."""

STALL_SECONDS = 300.0
RESIZE_SECONDS = 60.0
POLL_SECONDS = 0.5
STOP = signal.SIGUSR1
"""Signal by which the monitor ends a stage."""


def run(
    name: str,
    jobs: Sequence[Job],
    context: Context,
    cluster: ClusterConfig,
    on_progress: OnProgress,
    cancelled: Cancelled = tuple,
) -> None:
    """Run jobs in one Train run.

    Args:
        name: of the stage, for messages and log files.
        jobs: at least one; results that are in the store are not computed again.
        context: the data and the store; every worker must reach the store.
        cluster: maximal number of workers and resources of each.
        on_progress: receives the progress of the jobs.
        cancelled: returns the jobs that have become unnecessary.

    Raises:
        RumRayError: the first permanent error of a job, once the other jobs are done.
        StalledError: workers kept dying, or the cluster has no room for one.
    """
    workers = min(cluster.workers, len(jobs))
    queue = start_queue(jobs, workers)
    monitor = _Monitor(queue, on_progress, lambda: _numbers(jobs, cancelled()))
    try:
        with _signals(), monitor:
            _trainer(name, queue, jobs, context, cluster, workers).fit()
    except (KeyboardInterrupt, SystemExit):
        # Train's workers outlive the interrupt until the driver leaves the cluster.
        queue.cancel.remote(range(len(jobs)))
        if monitor.error is not None:
            raise monitor.error from None
        if monitor.stalled:
            raise StalledError(
                f"stage '{name}' had no heartbeat of a worker for {STALL_SECONDS:.0f} s: workers "
                "die or cannot start, or the cluster has no room for one. Finished jobs are in the "
                "store. See the log beside the report."
            ) from None
        raise KeyboardInterrupt from None
    except RumRayError:
        # The listener raised it in the last report of progress.
        raise
    except Exception as error:
        _raise_first(queue)
        reason = str(error).partition("\n")[0]
        raise StalledError(f"stage '{name}' failed: {reason}") from error
    _raise_first(queue)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let `STOP` raise KeyboardInterrupt, and restore the handler of SIGINT in the end.

    Train installs a handler of SIGINT that exits the process, but not while Train waits for
    resources. After `STOP`, Train's controller lives until the driver leaves the cluster.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, STOP)}
    signal.signal(STOP, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_first(queue: Any) -> None:
    """Raise the first permanent error, if there is one."""
    errors: list[RumRayError] = []
    with contextlib.suppress(ray.exceptions.RayError):
        errors = ray.get(queue.errors.remote())
    for error in errors:
        raise error


def _numbers(jobs: Sequence[Job], some: Sequence[Job]) -> list[int]:
    """Return the numbers of some of the jobs."""
    wanted = {*some}
    return [index for index, job in enumerate(jobs) if job in wanted] if wanted else []


def start_queue(jobs: Sequence[Job], workers: int) -> Any:
    """Start the queue on the driver's node, where it lives as long as the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Queue).options(num_cpus=0, scheduling_strategy=here)
    kinds = [type(job).__name__ for job in jobs]
    return actor.remote(kinds, workers, [i for i, job in enumerate(jobs) if is_fused(job)])


def in_blocks(jobs: Sequence[Job]) -> list[Any]:
    """Put jobs into the object store, and return the references of their blocks."""
    return [ray.put(jobs[start : start + BLOCK]) for start in range(0, len(jobs), BLOCK)]


def _trainer(
    name: str,
    queue: Any,
    jobs: Sequence[Job],
    context: Context,
    cluster: ClusterConfig,
    workers: int,
) -> DataParallelTrainer:
    """Return the Train run whose workers drain the queue."""
    gpus = countable_share(cluster.gpus_per_worker)
    resources = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}
    return DataParallelTrainer(
        work,
        train_loop_config={"queue": queue, "blocks": in_blocks(jobs), "context": ray.put(context)},
        scaling_config=ScalingConfig(
            num_workers=(1, workers),
            use_gpu=gpus > 0,
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=RESIZE_SECONDS,
        ),
        run_config=RunConfig(
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            storage_path=context.store.bookkeeping,
            failure_config=FailureConfig(max_failures=cluster.max_failures),
        ),
    )


def countable_share(gpus: float) -> float:
    """Return a share of a GPU by which Train counts the workers that fit on a node correctly.

    Train divides the GPUs of a node by the share: two GPUs would have room for five workers of 0.4,
    and one GPU for four of 0.2, since 0.2 is a little more than a fifth in floating point. Ray
    counts in ten-thousandths.

    Args:
        gpus: GPUs per worker, 0 or more.
    """
    if gpus == 0 or gpus >= 1:
        return gpus
    together = int(1 / gpus + 1e-9)
    return 1.0 if together == 1 else (10_000 // together - 1) / 10_000


class _Monitor(threading.Thread):
    """Reports progress, cancels unnecessary jobs, and ends a stage that has no live worker.

    It runs for the length of a `with` block.

    Attributes:
        stalled: True if it ended the stage for want of heartbeats.
        error: error of `on_progress` or `cancelled`, or the loss of the queue, that ended it.
    """

    def __init__(
        self, queue: Any, on_progress: OnProgress, cancelled: Callable[[], Sequence[int]]
    ) -> None:
        super().__init__(daemon=True)
        self._queue, self._on_progress = queue, on_progress
        self._cancelled, self._known = cancelled, 0
        self._ended = threading.Event()
        main = threading.current_thread() is threading.main_thread()
        self._signal = STOP if main else signal.SIGINT
        self.stalled = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Poll the queue twice per second until the stage, or the cluster, ends."""
        try:
            while not self._ended.wait(POLL_SECONDS):
                if self._poll() > STALL_SECONDS:
                    self.stalled = True
                    signal.raise_signal(self._signal)
                    return
        except Exception as error:
            # Without the queue, Train would start its workers again and again.
            lost = isinstance(error, ray.exceptions.RayError)
            reason = str(error).strip().partition("\n")[0]
            self.error = StalledError(f"the queue of jobs is lost: {reason}") if lost else error
            if not self._ended.is_set():
                signal.raise_signal(self._signal)

    def _poll(self) -> float:
        """Report the progress of the jobs; return the seconds since the last heartbeat."""
        cancelled = self._cancelled()
        if len(cancelled) > self._known:
            self._known = len(cancelled)
            ray.get(self._queue.cancel.remote(cancelled))
        state, silence = ray.get(self._queue.progress.remote())
        if state.seconds > 0:
            self._on_progress(state)
        return float(silence)

    def __enter__(self) -> "_Monitor":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop polling, and report a last time, unless that has failed."""
        self._ended.set()
        self.join()
        if self.error is None:
            with contextlib.suppress(ray.exceptions.RayError):
                self._poll()
