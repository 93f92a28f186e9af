"""The loop of a Train worker: lease jobs from the queue, run them, report their results."""

import contextlib
import dataclasses
import functools
import gc
import os
import platform
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import get_context
from ray.train.torch import get_device

from rum_ray.cluster.metrics import WorkerMetrics, device_use
from rum_ray.cluster.queue import Lease
from rum_ray.cluster.shared_data import load_shared
from rum_ray.cluster.work import Outcome, Place, is_out_of_memory
from rum_ray.data.batches import resident
from rum_ray.errors import IntegrityError, RumRayError, StalledError, StoreError
from rum_ray.files import private_files
from rum_ray.jobs import Context
from rum_ray.jobs.context import hardware
from rum_ray.seeding import Seed
from rum_ray.study.costs import training_count
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import LocalRuntime

HEARTBEAT_SECONDS = 5.0
REPORT_SECONDS = 0.5
HANG_SECONDS = 900.0
"""A job whose thread stays at one instruction for so long hangs; its process is ended."""


@private_files()
def work(config: dict[str, Any]) -> None:
    """Run jobs until the queue is closed, or until this worker must leave.

    Args:
        config: the actor of the queue, the names of experiment, command and shard.
    """
    queue, me = config["queue"], uuid.uuid4().hex
    rank = get_context().get_world_rank()
    ray.get(queue.register.remote(me, config["shard"], rank, _device_name()))
    # Train does not name its workers; the dashboard shows this log next to each.
    print(f"worker {rank} of {config['shard']}", flush=True)
    metrics = WorkerMetrics(config["experiment"], config["command"], config["shard"])
    heart = Heart(queue, me, metrics)
    heart.start()
    try:
        drain(queue, me, functools.partial(_load, queue, heart))
    except RejectedError as rejected:
        ray.get(queue.reject.remote(me, rejected.error))
    finally:
        heart.ended.set()


class RejectedError(Exception):
    """This worker cannot do the jobs, for the reason `error`."""

    def __init__(self, error: RumRayError) -> None:
        super().__init__(str(error))
        self.error = error


def _load(queue: Any, heart: "Heart", stage: int) -> Callable[[Lease], Iterable[Outcome]]:
    """Return the function that runs leases of a stage; it is empty if the stage is over."""
    held = ray.get(queue.work.remote(stage))
    if held is None:
        return lambda lease: ()
    stage_work = ray.get(held[0])
    with heart.busy(stage_work.stage):
        check_place(stage_work.place)
    run = functools.partial(stage_work.load(), _context(stage_work.place.context))

    def watched(lease: Lease) -> Iterator[Outcome]:
        with heart.busy(stage_work.stage):
            for outcome in run(lease):
                count(heart.metrics, outcome)
                yield outcome

    return watched


def count(metrics: WorkerMetrics, outcome: Outcome) -> None:
    """Count the end of an attempt in the metrics."""
    kind = type(outcome.job).__name__
    if outcome.error is not None:
        metrics.failed(kind, type(outcome.error).__name__)
        return
    models, trials = training_count(outcome.job), int(outcome.result is not None)
    metrics.done(kind, outcome.seconds, outcome.stored, models=models, trials=trials)


@functools.lru_cache(maxsize=1)
def _context(handle: Any) -> Context:
    """Return the context on the device of this worker."""
    driver: Context = load_shared(handle)
    # A worker without a share of a GPU may still see one.
    device = get_device() if driver.device.type == "cuda" else torch.device("cpu")
    return dataclasses.replace(driver, device=device)


@functools.lru_cache(maxsize=1)
def check_place(place: Place) -> None:
    """Check that this worker can train, with the bits of the driver, into the store of the driver.

    Raises:
        RejectedError: it cannot.
    """
    host = platform.node()
    try:
        context = _context(place.context)
        prove(context, place.recipe)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        text = f"a worker on {host} ({_device_name()}) cannot train: {reason}."
        raise RejectedError(StalledError(text)) from error
    driver: Context = load_shared(place.context)
    problem = check_hardware(hardware(driver.device), hardware(context.device))
    problem = problem or check_store(place.marker, host)
    if problem is not None:
        raise RejectedError(problem)


def prove(context: Context, recipe: Recipe) -> None:
    """Train the recipe's model on one batch, so that a broken device shows before the first job.

    Raises:
        Exception: the error of the device.
    """
    train = context.bundle.train
    batch = train.take(range(min(len(train), recipe.batch_size)))
    one = dataclasses.replace(recipe, epochs=1)
    with contextlib.suppress(RumRayError):
        one.fit(batch, LocalRuntime(Seed(0), context.device, recipe.threads))


def check_hardware(driver: Mapping[str, str], worker: Mapping[str, str]) -> RumRayError | None:
    """Return an error if a worker's results would differ in bits from those of the driver's keys.

    Args:
        driver: hardware of the driver; see `rum_ray.jobs.context.hardware`.
        worker: hardware of the worker.
    """
    if driver == worker:
        return None
    return IntegrityError(
        f"a worker has {worker}, the command {driver}: their results would differ. "
        "Run the command on a machine of the workers' kind, with the same PyTorch."
    )


def check_store(marker: str | None, host: str) -> RumRayError | None:
    """Return an error if a worker does not see the store of the command.

    Args:
        marker: a file that the command has written into the store; None for a store at a URI.
        host: name of the worker's machine.
    """
    if marker is None or Path(marker).exists():
        return None
    return StoreError(
        f"--store {Path(marker).parent}: the folder of the command is not the one on {host}. "
        "Use a folder that all machines share under this path, or a URI such as s3://bucket/path."
    )


def _device_name() -> str:
    """Return the name of the GPUs, or of the host, whose memory workers share."""
    gpus = ",".join(map(str, ray.get_gpu_ids()))
    node = ray.get_runtime_context().get_node_id()[:8]
    return f"node {node} {f'GPU {gpus}' if gpus else 'CPU'}"


def drain(queue: Any, me: str, load: Callable[[int], Callable[[Lease], Iterable[Outcome]]]) -> None:
    """Run leases until the queue is closed, or this worker is not known there any more.

    Args:
        queue: the actor of the queue.
        me: name of this worker.
        load: returns the function that runs leases of a stage.
    """
    done: dict[int, Any] = {}
    stage, run = -1, None
    while (lease := ray.get(queue.take.remote(me, stage, done))) is not None:
        # Calls may overtake each other, so `take` repeats what `finish` has told on the way.
        done, reported = {}, time.monotonic()
        if not lease.jobs:
            continue
        if run is None or lease.stage != stage:
            stage, run = lease.stage, load(lease.stage)
        for outcome in run(lease):
            index, error = outcome.number, outcome.error
            done |= {index: outcome.result} if error is None else {}
            if error is not None or time.monotonic() - reported > REPORT_SECONDS:
                queue.finish.remote(me, stage, done)
                reported = time.monotonic()
            if error is not None and report_failure(queue, me, stage, index, error):
                break


def report_failure(queue: Any, me: str, stage: int, index: int, error: Exception) -> bool:
    """Report the error of a job to the queue; return True if the rest of the lease is void."""
    if is_out_of_memory(error):
        resident.cache_clear()
        gc.collect()
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rstrip(".")
        return bool(ray.get(queue.out_of_memory.remote(me, stage, index, reason)))
    if isinstance(error, RumRayError):
        ray.get(queue.fail.remote(me, stage, index, error))
        return False
    reason = f"{type(error).__name__}: {error}"
    return bool(ray.get(queue.requeue.remote(me, stage, index, reason)))


class Heart(threading.Thread):
    """Sends heartbeats to the queue, also while a job runs; ends the process if a job hangs.

    Attributes:
        metrics: the metrics of this worker.
        ended: set to stop.
    """

    def __init__(self, queue: Any, me: str, metrics: WorkerMetrics) -> None:
        """Watch the jobs of the calling thread."""
        super().__init__(daemon=True)
        self._queue, self._me, self._watched = queue, me, threading.get_ident()
        self._busy = False
        self.metrics = metrics
        self.ended = threading.Event()

    @contextlib.contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Mark the time in which jobs of a stage run."""
        self._busy = True
        self.metrics.busy(stage)
        try:
            yield
        finally:
            self._busy = False
            self.metrics.idle()

    def run(self) -> None:
        """Send heartbeats until `ended` is set."""
        place, since = None, time.monotonic()
        while not self.ended.wait(HEARTBEAT_SECONDS):
            frame = sys._current_frames().get(self._watched)
            now = (frame.f_code, frame.f_lasti) if self._busy and frame is not None else None
            if frame is not None and "filelock" in frame.f_code.co_filename:
                # Another process has the lock that this one waits for.
                now = None
            if now is None or now != place:
                place, since = now, time.monotonic()
            elif time.monotonic() - since > HANG_SECONDS:
                os._exit(1)
            use = device_use()
            self.metrics.beat(_device_name(), use)
            self._queue.heartbeat.remote(self._me, use.memory)
