"""The actor around the queue: workers and the driver wait here for news instead of polling."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rum_ray.cluster.queue import Lease, Queue
from rum_ray.errors import RumRayError
from rum_ray.study.progress import ProgressState

TAKE_SECONDS = 5.0
"""An idle worker asks again after this time. It looks for slow jobs of others each time."""


class QueueActor:
    """A `Queue` whose callers wait until there is something for them."""

    def __init__(self, take_seconds: float = TAKE_SECONDS) -> None:
        """Start with an empty queue."""
        self._queue = Queue()
        self._take_seconds = take_seconds
        self._jobs = asyncio.Condition()
        self._settled = asyncio.Condition()

    async def open(
        self, kinds: Sequence[str], workers: int, fused: Iterable[int] = (), work: Any = None
    ) -> int:
        """Begin a stage; see `Queue.open`."""
        number = self._queue.open(kinds, workers, fused, work)
        await self._wake()
        return number

    async def work(self, stage: int) -> Any:
        """Return the handle of what a stage runs; None if the stage is over."""
        return self._queue.stage.work if stage == self._queue.stage.number else None

    async def register(self, name: str, shard: str, rank: int, device: str) -> None:
        """Register a worker; see `Queue.register`."""
        self._queue.register(name, shard, rank, device)
        await self._wake()

    async def died(self, shard: str, rank: int) -> None:
        """Remove a worker whose process died; see `Queue.died`."""
        self._queue.died(shard, rank)
        await self._wake()

    async def lost(self, shard: str) -> None:
        """Remove the workers of a shard; see `Queue.lost`."""
        self._queue.lost(shard)
        await self._wake()

    async def reject(self, name: str, error: RumRayError) -> None:
        """Remove a worker that cannot do the jobs; see `Queue.reject`."""
        self._queue.reject(name, error)
        await self._wake()

    async def heartbeat(self, name: str, memory: float | None = None) -> None:
        """Note that a worker is alive; see `Queue.heartbeat`."""
        self._queue.heartbeat(name, memory)

    async def take(self, name: str, stage: int, done: Mapping[int, Any]) -> Lease | None:
        """Lease jobs to a worker, waiting for some; see `Queue.take`.

        Args:
            name: name of the worker.
            stage: stage of the jobs that it has finished since its last message.
            done: these jobs with their results.
        """
        if done:
            self._queue.finish(name, stage, done)
            await self._wake()
        deadline = asyncio.get_running_loop().time() + self._take_seconds
        while True:
            lease = self._queue.take(name)
            left = deadline - asyncio.get_running_loop().time()
            if lease is None or lease.jobs or left <= 0:
                return lease
            await self._wait(self._jobs, left)

    async def finish(self, name: str, stage: int, done: Mapping[int, Any]) -> None:
        """Note that jobs are done; see `Queue.finish`."""
        self._queue.finish(name, stage, done)
        await self._wake()

    async def fail(self, name: str, stage: int, index: int, error: RumRayError) -> None:
        """Record a permanent error; see `Queue.fail`."""
        self._queue.fail(name, stage, index, error)
        await self._wake()

    async def requeue(self, name: str, stage: int, index: int, reason: str) -> bool:
        """Requeue a job that raised; see `Queue.requeue`."""
        stop = self._queue.requeue(name, stage, index, reason)
        await self._wake()
        return stop

    async def out_of_memory(self, name: str, stage: int, index: int, reason: str) -> bool:
        """Requeue a job that ran out of memory; see `Queue.out_of_memory`."""
        stop = self._queue.out_of_memory(name, stage, index, reason)
        await self._wake()
        return stop

    async def cancel(self, indices: Iterable[int]) -> None:
        """Remove jobs that have become unnecessary."""
        self._queue.stage.cancel(indices)
        await self._wake()

    async def hand_in(self, kind: str, payloads: Sequence[Any]) -> list[int]:
        """Add jobs, and return their numbers."""
        numbers = [self._queue.stage.add(kind, payload) for payload in payloads]
        await self._wake()
        return numbers

    async def result(self, index: int) -> Any:
        """Return the result of a job, or its error, when it has one.

        Returns:
            A tuple of the result and the permanent error; one of them is None. Both are None if
            the stage was dropped.
        """
        stage = self._queue.stage
        while not stage.is_settled(index) and stage is self._queue.stage:
            await self._wait(self._settled, self._take_seconds)
        return stage.results.get(index), stage.errors.get(index)

    async def first_settled(self, indices: Sequence[int]) -> int:
        """Return the position of the first job that has a result or an error; 0 if none has."""
        settled = map(self._queue.stage.is_settled, indices)
        return next((position for position, is_there in enumerate(settled) if is_there), 0)

    async def watch(self, seconds: float) -> tuple[ProgressState, bool]:
        """Return the progress, and True if the stage is over; wait for its end at most so long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._queue.stage.is_over:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await self._wait(self._settled, left)
        return self._queue.progress(), self._queue.stage.is_over

    async def errors(self) -> list[RumRayError]:
        """Return the permanent errors of the stage."""
        return [*self._queue.stage.errors.values()]

    async def rejections(self) -> list[RumRayError]:
        """Return the reasons of workers that could not do the jobs."""
        return [*self._queue.rejections]

    async def close(self) -> None:
        """Let all workers leave."""
        self._queue.closed = True
        await self._wake()

    async def _wake(self) -> None:
        """Wake as many workers as may take the jobs, and those who wait for results."""
        stage = self._queue.stage
        async with self._jobs:
            if self._queue.closed:
                self._jobs.notify_all()
            else:
                # Paused workers wait among the others and take nothing.
                self._jobs.notify(len(stage.backlog) and len(stage.backlog) + self._queue.paused)
        async with self._settled:
            self._settled.notify_all()

    @staticmethod
    async def _wait(news: asyncio.Condition, seconds: float | None) -> None:
        """Wait for news at most so long."""
        with contextlib.suppress(TimeoutError):
            async with news:
                await asyncio.wait_for(news.wait(), seconds)
