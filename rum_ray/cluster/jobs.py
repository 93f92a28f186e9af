"""Many jobs in one Ray Train run: workers take them from a queue until none is left.

One run a stage, since each has a controller of its own and takes seconds to start. Workers commit
what they make to the store and report nothing but progress, so a worker that dies loses the job in
its hands and no other: Train starts the workers again, and the queue hands out what is missing.
"""

import contextlib
import dataclasses
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import get_device
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rum_ray.cluster.queue import Queue
from rum_ray.errors import IntegrityError, RumRayError, StalledError
from rum_ray.experiment import ClusterConfig
from rum_ray.work import Context, Job
from rum_ray.work.base import hardware

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many jobs are done, and how many there are."""

STALL_SECONDS = 300.0
ALIVE_SECONDS = 10.0


def run(
    name: str,
    jobs: Sequence[Job],
    context: Context,
    cluster: ClusterConfig,
    progress: Progress,
    spare: Callable[[], Sequence[Job]] = tuple,
) -> int:
    """Do the jobs that are not done yet in one Train run, and return how many these were.

    Args:
        name: what the Train tab calls the run.
        jobs: of the stage.
        context: the data and the store, which every worker must reach.
        cluster: how many workers, and what they get.
        progress: is told about once a second.
        spare: says about once a second which jobs are not needed any more.

    Raises:
        RumRayError: a job failed for a reason that trying again cannot mend; the first such error.
        StalledError: workers kept dying.
    """
    missing = [job for job in jobs if not context.has(job)]
    if not missing:
        progress(len(jobs), len(jobs))
        return 0
    workers = min(cluster.workers, len(missing))
    queue = _start_queue(missing, workers)
    watch = _Watch(queue, missing, len(jobs) - len(missing), progress, spare)
    # Train puts a handler of its own in place, which exits the process, and leaves it there.
    handler = signal.getsignal(signal.SIGINT)
    try:
        with watch:
            _trainer(name, queue, context, cluster, workers).fit()
        errors = ray.get(queue.errors.remote())
    except (KeyboardInterrupt, SystemExit):
        if watch.stalled:
            raise StalledError(
                f"stage '{name}' heard of no worker for {STALL_SECONDS:.0f} s: they "
                "die or cannot start. What is finished is kept; look at the log beside the report."
            ) from None
        raise KeyboardInterrupt from None
    except Exception as error:
        raise StalledError(f"stage '{name}' failed: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
    if errors:
        raise errors[0]
    return len(missing)


def _start_queue(jobs: Sequence[Job], workers: int) -> Any:
    """Start the queue on the driver's node, where it lives as long as the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(Queue).options(num_cpus=0, scheduling_strategy=here)
    return actor.remote(jobs, workers)


def _trainer(
    name: str,
    queue: Any,
    context: Context,
    cluster: ClusterConfig,
    workers: int,
) -> DataParallelTrainer:
    """Return the Train run whose workers empty the queue."""
    gpus = cluster.gpus_per_worker
    resources = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}
    return DataParallelTrainer(
        _work,
        train_loop_config={"queue": queue, "context": ray.put(context)},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            storage_path=context.store.bookkeeping,
            failure_config=FailureConfig(max_failures=cluster.max_failures),
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """Take jobs until none is left: what each Train worker does."""
    queue = config["queue"]
    rank = ray.train.get_context().get_world_rank()
    device = get_device() if torch.cuda.is_available() else torch.device("cpu")
    ray.get(queue.join.remote(rank))
    over = threading.Event()
    threading.Thread(target=_tell_alive, args=(queue, rank, over), daemon=True).start()
    driver = ray.get(config["context"])
    context = dataclasses.replace(driver, device=device)
    unlike = differing(hardware(driver.device), hardware(device))
    try:
        while (chunk := ray.get(queue.take.remote(rank))) is not None:
            if not chunk:
                time.sleep(0.2)
            for index, job in chunk:
                ray.get(
                    queue.finish.remote(index, unlike)
                    if unlike
                    else _done(queue, context, index, job)
                )
    finally:
        over.set()


def differing(driver: Mapping[str, str], worker: Mapping[str, str]) -> IntegrityError | None:
    """Return why a worker would make other bits than the driver's keys promise, if it would."""
    if driver == worker:
        return None
    return IntegrityError(
        f"a worker has {worker}, the command {driver}: their results would differ. "
        "Run the command on a machine of the workers' kind, with the same PyTorch."
    )


def _done(queue: Any, context: Context, index: int, job: Job) -> Any:
    """Do one job, and return the call that tells the queue how it went."""
    try:
        context.make(job)
    except RumRayError as error:
        return queue.finish.remote(index, error)
    except Exception as error:
        return queue.again.remote(index, f"{type(error).__name__}: {error}")
    return queue.finish.remote(index)


def _tell_alive(queue: Any, rank: int, over: threading.Event) -> None:
    """Tell the queue from time to time that this worker lives, also in the middle of a job."""
    while not over.wait(ALIVE_SECONDS):
        queue.alive.remote(rank)


class _Watch(threading.Thread):
    """Tells the progress of a stage, and interrupts one that makes none.

    Attributes:
        stalled: whether it interrupted the stage.
    """

    def __init__(
        self,
        queue: Any,
        jobs: Sequence[Job],
        before: int,
        progress: Progress,
        spare: Callable[[], Sequence[Job]],
    ) -> None:
        super().__init__(daemon=True)
        self._queue, self._jobs, self._before, self._progress = queue, jobs, before, progress
        self._spare, self._dropped = spare, 0
        self._over = threading.Event()
        self.stalled = False

    def run(self) -> None:
        """Ask the queue twice a second until the stage, or the cluster, ends."""
        with contextlib.suppress(ray.exceptions.RayError):
            while not self._over.wait(0.5):
                silence = self._tell()
                if silence > STALL_SECONDS:
                    self.stalled = True
                    signal.raise_signal(signal.SIGINT)
                    return

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop asking, and tell the progress a last time."""
        self._over.set()
        self.join()
        with contextlib.suppress(ray.exceptions.RayError):
            self._tell()

    def _tell(self) -> float:
        """Drop what is not needed, tell the progress, and return how long workers were silent."""
        spare = {*self._spare()}
        dropped = [index for index, job in enumerate(self._jobs) if job in spare]
        if len(dropped) > self._dropped:
            self._dropped = len(dropped)
            ray.get(self._queue.drop.remote(dropped))
        done, silence = ray.get(self._queue.progress.remote())
        if done > 0:
            ready, total = done - self._dropped, len(self._jobs) - self._dropped
            self._progress(self._before + ready, self._before + total)
        return float(silence)
