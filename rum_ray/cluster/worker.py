"""The loop of a Train worker: lease jobs from the queue, run them, report their results."""

import contextlib
import dataclasses
import functools
import gc
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ray
import torch
from ray.train.torch import get_device

from rum_ray.data.batches import resident
from rum_ray.errors import IntegrityError, RumRayError
from rum_ray.jobs import Context, Job, is_fused, train_together
from rum_ray.jobs.context import hardware

HEARTBEAT_SECONDS = 10.0
REPORT_SECONDS = 0.5
IDLE_SECONDS = 0.2
BLOCK = 1000


def work(config: dict[str, Any]) -> None:
    """Run jobs until none is left, or until this worker must leave.

    Args:
        config: the actor of the `Queue`, the context, and the jobs in blocks of `BLOCK`.
    """
    queue, me = config["queue"], uuid.uuid4().hex
    driver = ray.get(config["context"])
    # A worker without a share of a GPU may still see one.
    device = get_device() if driver.device.type == "cuda" else torch.device("cpu")
    group = ray.get_runtime_context().get_placement_group_id()
    ray.get(queue.register.remote(me, group, _device_name()))
    ended = threading.Event()
    threading.Thread(target=_send_heartbeats, args=(queue, me, device, ended), daemon=True).start()
    context = dataclasses.replace(driver, device=device)
    mismatch = check_hardware(hardware(driver.device), hardware(device))
    job = reader(config["blocks"])
    try:
        if mismatch is not None:
            ray.get(queue.reject.remote(me, mismatch))
        drain(queue, me, lambda chunk: run_chunk(context, {index: job(index) for index in chunk}))
    finally:
        ended.set()


def reader(blocks: Sequence[Any]) -> Callable[[int], Job]:
    """Return a function that reads a job by its number; it holds one block at a time."""
    block = functools.lru_cache(maxsize=1)(lambda number: ray.get(blocks[number]))
    return lambda index: block(index // BLOCK)[index % BLOCK]


def _device_name() -> str:
    """Return the name of the GPUs, or of the host, whose memory workers share."""
    gpus = ",".join(map(str, ray.get_gpu_ids()))
    node = ray.get_runtime_context().get_node_id()[:8]
    return f"node {node} {f'GPU {gpus}' if gpus else 'CPU'}"


def drain(
    queue: Any, me: str, run: Callable[[list[int]], Iterable[tuple[int, Exception | None]]]
) -> None:
    """Run chunks of jobs until the queue has no more, or this worker must leave.

    Args:
        queue: the actor of the `Queue`.
        me: name of this worker.
        run: runs a chunk; yields the number of each job and its error, if any.
    """
    done: list[int] = []
    while (chunk := ray.get(queue.take.remote(me, done))) is not None:
        done, reported = [], time.monotonic()
        if not chunk:
            time.sleep(IDLE_SECONDS)
        for index, error in run(chunk):
            done += [index] if error is None else []
            if error is not None or time.monotonic() - reported > REPORT_SECONDS:
                queue.finish.remote(me, done)
                done, reported = [], time.monotonic()
            if error is not None and report_failure(queue, me, index, error):
                return


def run_chunk(context: Context, jobs: Mapping[int, Job]) -> Iterator[tuple[int, Exception | None]]:
    """Run a chunk of jobs; yield the number of each and its error, if any."""
    numbers = [*jobs]
    together = is_fused(jobs[numbers[0]]) if numbers else False
    for some in [numbers] if together else ([number] for number in numbers):
        yield from zip(some, _attempt(context, [jobs[number] for number in some]), strict=True)


def _attempt(context: Context, jobs: Sequence[Any]) -> Sequence[Exception | None]:
    """Run one job, or several together; return the error of each, if any.

    Jobs that run out of memory together are run again in halves. The error is returned without its
    frames, which would hold memory of the device. An error of the device itself is raised: it lasts
    as long as this process, which Train then restarts.
    """
    try:
        if len(jobs) > 1:
            return train_together(context, jobs)
        context.get_or_compute(jobs[0])
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
    return [*_attempt(context, jobs[:half]), *_attempt(context, jobs[half:])]


def is_out_of_memory(error: Exception) -> bool:
    """Return True if a device has no memory left, whichever library reports it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "ALLOC_FAILED" in text)


def report_failure(queue: Any, me: str, index: int, error: Exception) -> bool:
    """Report the error of a job to the queue; return True if this worker must leave."""
    if isinstance(error, torch.OutOfMemoryError):
        resident.cache_clear()
        gc.collect()
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0].rstrip(".")
        return bool(ray.get(queue.out_of_memory.remote(me, index, reason)))
    if isinstance(error, RumRayError):
        queue.fail.remote(me, index, error)
        return False
    return bool(ray.get(queue.requeue.remote(me, index, f"{type(error).__name__}: {error}")))


def check_hardware(driver: Mapping[str, str], worker: Mapping[str, str]) -> IntegrityError | None:
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


def _send_heartbeats(queue: Any, me: str, device: torch.device, ended: threading.Event) -> None:
    """Send heartbeats to the queue, also while a job runs."""
    while not ended.wait(HEARTBEAT_SECONDS):
        memory = None
        if device.type == "cuda":
            # A device without memory may not even answer this.
            with contextlib.suppress(RuntimeError):
                free, total = torch.cuda.mem_get_info(device)
                memory = 1 - free / total
        queue.heartbeat.remote(me, memory)
