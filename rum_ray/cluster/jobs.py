"""Many jobs in one Ray Train run: workers take them from a queue until none is left.

One run a stage, since each has a controller of its own and takes seconds to start. Workers commit
what they make to the store and report nothing but progress, so a worker that dies loses the job in
its hands and no other. Train starts with as many workers as there is room for, and again with more
or fewer when one dies or the cluster changes; the queue hands out what is missing.
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
STOP = signal.SIGUSR1
"""Ends a stage from within."""


def run(
    name: str,
    jobs: Sequence[Job],
    context: Context,
    cluster: ClusterConfig,
    on_progress: OnProgress,
    cancelled: Cancelled = tuple,
) -> None:
    """Do jobs in one Train run.

    Args:
        name: what the Train tab calls the run.
        jobs: at least one; what the store has already is read, not made again.
        context: the data and the store, which every worker must reach.
        cluster: how many workers at most, and what they get.
        on_progress: receives the progress of the jobs.
        cancelled: returns the jobs that have turned out to be unnecessary.

    Raises:
        RumRayError: a job failed for a reason that trying again cannot mend; the first such error.
        StalledError: workers kept dying, or there is no room for one.
    """
    workers = min(cluster.workers, len(jobs))
    queue = start_queue(jobs, workers)
    watch = _Watch(queue, on_progress, lambda: _numbers(jobs, cancelled()))
    try:
        with _signals(), watch:
            _trainer(name, queue, jobs, context, cluster, workers).fit()
    except (KeyboardInterrupt, SystemExit):
        if watch.error is not None:
            raise watch.error from None
        if watch.stalled:
            raise StalledError(
                f"stage '{name}' heard of no worker for {STALL_SECONDS:.0f} s: they die, cannot "
                "start, or the cluster has no room for one. What is finished is kept; look at the "
                "log beside the report."
            ) from None
        raise KeyboardInterrupt from None
    except Exception as error:
        _raise_first(queue)
        reason = str(error).partition("\n")[0]
        raise StalledError(f"stage '{name}' failed: {reason}") from error
    _raise_first(queue)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let `STOP` raise KeyboardInterrupt, and put the handler of SIGINT back in the end.

    Train puts one of its own in place, which exits the process, but not while Train waits for room.
    After `STOP`, Train's controller lives until the driver leaves the cluster.
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
    """Raise the first error that trying again cannot mend, if there is one."""
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
    """Return the Train run whose workers empty the queue."""
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
    """Return a worker's GPUs so that dividing a node's GPUs by it counts the workers that fit.

    Train counts by division: two GPUs would have room for five workers of 0.4, and one GPU for four
    of 0.2, since 0.2 is a little more than a fifth. Ray counts in ten-thousandths.
    """
    if gpus == 0 or gpus >= 1:
        return gpus
    together = int(1 / gpus + 1e-9)
    return 1.0 if together == 1 else (10_000 // together - 1) / 10_000


class _Watch(threading.Thread):
    """Tells how far the jobs are, and interrupts a stage whose workers are silent.

    It watches for the length of a `with` block, and drops what is not needed any more.

    Attributes:
        stalled: whether it interrupted the stage, since nobody was heard of.
        error: the other reason: `on_progress` or `cancelled` raised.
    """

    def __init__(
        self, queue: Any, on_progress: OnProgress, cancelled: Callable[[], Sequence[int]]
    ) -> None:
        super().__init__(daemon=True)
        self._queue, self._on_progress = queue, on_progress
        self._cancelled, self._dropped = cancelled, 0
        self._over = threading.Event()
        main = threading.current_thread() is threading.main_thread()
        self._signal = STOP if main else signal.SIGINT
        self.stalled = False
        self.error: Exception | None = None

    def run(self) -> None:
        """Ask the queue twice a second until the stage, or the cluster, ends."""
        try:
            while not self._over.wait(0.5):
                if self._ask() > STALL_SECONDS:
                    self.stalled = True
                    signal.raise_signal(self._signal)
                    return
        except Exception as error:
            # Without the queue, Train would start its workers again and again.
            gone = isinstance(error, ray.exceptions.RayError)
            reason = str(error).strip().partition("\n")[0]
            self.error = StalledError(f"the queue of jobs is lost: {reason}") if gone else error
            if not self._over.is_set():
                signal.raise_signal(self._signal)

    def _ask(self) -> float:
        """Tell how far the jobs are, and return for how many seconds no worker was heard of."""
        cancelled = self._cancelled()
        if len(cancelled) > self._dropped:
            self._dropped = len(cancelled)
            ray.get(self._queue.drop.remote(cancelled))
        state, silence = ray.get(self._queue.progress.remote())
        if state.seconds > 0:
            self._on_progress(state)
        return float(silence)

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop asking, and tell a last time, unless that has failed."""
        self._over.set()
        self.join()
        if self.error is None:
            with contextlib.suppress(ray.exceptions.RayError):
                self._ask()
