"""The backlog of a stage, and the state of a worker with the jobs that it leases."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_CHUNK = 8
"""Jobs per chunk; as many as `rum_ray.jobs.train.MAX_TOGETHER`, fused models in one batch."""
CHUNK_SECONDS = 1.0
MAX_FAILURES = 3
"""A worker whose jobs fail this often one after another gets no more jobs of the stage."""


@dataclass
class Worker:
    """The state of a live worker.

    Attributes:
        shard: name of the Train run that the worker belongs to.
        rank: its number there.
        device: the GPUs, or the host, whose memory it shares with other workers of the same name.
        last_heartbeat: time of its last message.
        memory: share of the device's memory in use, in [0, 1]; None if unknown.
        chunk_started: time at which it took its last chunk.
        chunk_size: number of jobs in that chunk.
        leased: numbers of the jobs that it has, in the order in which it runs them.
        shared_memory: True if other workers used the device's memory when its jobs began.
        consecutive_failures: number of its jobs that raised one after another.
        paused: True if it gets no jobs of this stage.
    """

    shard: str
    rank: int
    device: str
    last_heartbeat: float
    memory: float | None = None
    chunk_started: float = 0.0
    chunk_size: int = 0
    leased: list[int] = field(default_factory=list)
    shared_memory: bool = False
    consecutive_failures: int = 0
    paused: bool = False

    @property
    def jobs_per_second(self) -> int:
        """Rate of its last chunk, rounded down; at least 1."""
        seconds = max(self.last_heartbeat - self.chunk_started, 1e-9)
        return max(1, int(self.chunk_size * CHUNK_SECONDS / seconds))

    @property
    def is_failing(self) -> bool:
        """True if its jobs fail one after another."""
        return self.consecutive_failures >= MAX_FAILURES

    def lease(self, jobs: list[int], now: float) -> None:
        """Take a chunk of jobs in place of the last one."""
        self.last_heartbeat = self.chunk_started = now
        self.chunk_size, self.leased = len(jobs), [*jobs]


class Backlog:
    """A priority queue of job numbers: low numbers first, jobs that failed repeatedly last."""

    def __init__(self, count: int, fused: Iterable[int] = ()) -> None:
        """Start with the jobs 0 .. count - 1; jobs in `fused` run several at a time."""
        # A sorted list is a heap. It may hold entries of jobs that do not wait any more.
        self._heap = [(False, index) for index in range(count)]
        self._waiting = {*range(count)}
        self._fused = frozenset(fused)
        self._alone: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, index: int, last: bool = False, alone: bool = False) -> None:
        """Add a job, unless it waits already.

        Args:
            index: number of the job.
            last: True puts it behind all others.
            alone: True hands it out in a chunk of its own, so that a death tells which job it was.
        """
        if index not in self._waiting:
            self._waiting.add(index)
            heapq.heappush(self._heap, (last, index))
        if alone:
            self._alone.add(index)

    def remove(self, indices: Iterable[int]) -> None:
        """Remove jobs."""
        self._waiting.difference_update(indices)

    def next_chunk(self, jobs_per_second: int, workers: int) -> list[int]:
        """Remove and return the next jobs for one of `workers` workers.

        Chunks shrink towards the end, so that workers finish together. A chunk of fused jobs is as
        large as possible, whatever the rate, and holds no other jobs.
        """
        first = self._next()
        fused, alone = first in self._fused, first in self._alone
        fair = max(2 if fused else 1, len(self) // (2 * workers))
        size = min(MAX_CHUNK, fair) if fused else min(MAX_CHUNK, fair, jobs_per_second)
        taken: list[int] = []
        while (index := self._next()) is not None and len(taken) < (1 if alone else size):
            if (index in self._fused) != fused or (index in self._alone) != alone:
                break
            heapq.heappop(self._heap)
            self._waiting.discard(index)
            taken.append(index)
        return taken

    def _next(self) -> int | None:
        """Return the number of the next job; None if no job waits."""
        while self._heap and self._heap[0][1] not in self._waiting:
            heapq.heappop(self._heap)
        return self._heap[0][1] if self._heap else None
