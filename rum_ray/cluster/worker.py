"""What each Train worker does: take jobs from the queue, do them, tell how they went."""

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

ALIVE_SECONDS = 10.0
TELL_SECONDS = 0.5
BLOCK = 1000


def work(config: dict[str, Any]) -> None:
    """Take jobs until none is left, or until this worker must leave.

    Args:
        config: the actor of the `Queue`, the context, and the jobs in blocks of `BLOCK`.
    """
    queue, me = config["queue"], uuid.uuid4().hex
    driver = ray.get(config["context"])
    # A worker without a share of a GPU may see one all the same.
    device = get_device() if driver.device.type == "cuda" else torch.device("cpu")
    group = ray.get_runtime_context().get_placement_group_id()
    ray.get(queue.register.remote(me, group, _place()))
    over = threading.Event()
    threading.Thread(target=_tell_alive, args=(queue, me, device, over), daemon=True).start()
    context = dataclasses.replace(driver, device=device)
    unlike = check_hardware(hardware(driver.device), hardware(device))
    job = reader(config["blocks"])
    try:
        if unlike is not None:
            ray.get(queue.reject.remote(me, unlike))
        drain(queue, me, lambda chunk: run_chunk(context, {index: job(index) for index in chunk}))
    finally:
        over.set()


def reader(blocks: Sequence[Any]) -> Callable[[int], Job]:
    """Return the function that gives a job by its number; one block is held at a time."""
    block = functools.lru_cache(maxsize=1)(lambda number: ray.get(blocks[number]))
    return lambda index: block(index // BLOCK)[index % BLOCK]


def _place() -> str:
    """Return the name of what workers share and can run out of: GPUs, or a machine."""
    gpus = ",".join(map(str, ray.get_gpu_ids()))
    node = ray.get_runtime_context().get_node_id()[:8]
    return f"node {node} {f'GPU {gpus}' if gpus else 'CPU'}"


def drain(
    queue: Any, me: str, attempt: Callable[[list[int]], Iterable[tuple[int, Exception | None]]]
) -> None:
    """Do what the queue hands out until it has nothing more, or this worker must leave."""
    done: list[int] = []
    while (chunk := ray.get(queue.take.remote(me, done))) is not None:
        done, told = [], time.monotonic()
        if not chunk:
            time.sleep(0.2)
        for index, error in attempt(chunk):
            done += [index] if error is None else []
            if error is not None or time.monotonic() - told > TELL_SECONDS:
                queue.finish.remote(me, done)
                done, told = [], time.monotonic()
            if error is not None and report_failure(queue, me, index, error):
                return


def run_chunk(context: Context, jobs: Mapping[int, Job]) -> Iterator[tuple[int, Exception | None]]:
    """Do a chunk of jobs, and yield the number of each and what it raised."""
    numbers = [*jobs]
    together = is_fused(jobs[numbers[0]]) if numbers else False
    for some in [numbers] if together else ([number] for number in numbers):
        yield from zip(some, _attempt(context, [jobs[number] for number in some]), strict=True)


def _attempt(context: Context, jobs: Sequence[Any]) -> Sequence[Exception | None]:
    """Do one job, or several together, and return what each raised.

    Those that run out of memory together are done again in halves. What is out of memory is
    returned without its frames, and so without their hold of the device. An error of the device
    itself is raised: it lasts as long as this process, which Train then starts anew.
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
    """Return whether a device has no memory left, however the library at work puts it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    told = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in told or "ALLOC_FAILED" in told)


def report_failure(queue: Any, me: str, index: int, error: Exception) -> bool:
    """Tell the queue how a job failed, and return whether this worker must leave."""
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
    """Return why a worker would make other bits than the driver's keys promise, if it would."""
    if driver == worker:
        return None
    return IntegrityError(
        f"a worker has {worker}, the command {driver}: their results would differ. "
        "Run the command on a machine of the workers' kind, with the same PyTorch."
    )


def _tell_alive(queue: Any, me: str, device: torch.device, over: threading.Event) -> None:
    """Tell the queue from time to time that this worker lives, also in the middle of a job."""
    while not over.wait(ALIVE_SECONDS):
        memory = None
        if device.type == "cuda":
            # A device without memory may not even answer this.
            with contextlib.suppress(RuntimeError):
                free, total = torch.cuda.mem_get_info(device)
                memory = 1 - free / total
        queue.heartbeat.remote(me, memory)
