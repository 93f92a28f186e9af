"""The state of a queue: jobs that wait, and workers with the jobs that they lease."""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MAX_CHUNK = 8
"""Jobs per chunk; as many as `rum_ray.jobs.train.MAX_TOGETHER`, fused models in one batch."""
CHUNK_SECONDS = 1.0


@dataclass
class Worker:
    """The state of a live worker.

    Attributes:
        device: the GPUs, or the host, whose memory it shares with other workers of the same name.
        last_heartbeat: time of its last message.
        chunk_started: time at which it took its last chunk.
        chunk_size: number of jobs in that chunk.
        leased: numbers of the jobs that it has, in the order in which it runs them.
        shared_memory: True if other workers used the device's memory when its jobs began.
        consecutive_failures: number of its jobs that raised one after another.
    """

    device: str
    last_heartbeat: float
    chunk_started: float = 0.0
    chunk_size: int = 0
    leased: list[int] = field(default_factory=list)
    shared_memory: bool = False
    consecutive_failures: int = 0

    @property
    def jobs_per_second(self) -> int:
        """Rate of its last chunk, rounded down; at least 1."""
        seconds = max(self.last_heartbeat - self.chunk_started, 1e-9)
        return max(1, int(self.chunk_size * CHUNK_SECONDS / seconds))


class Backlog:
    """A priority queue of job numbers: low numbers first, jobs that failed repeatedly last."""

    def __init__(self, count: int, fused: Iterable[int]) -> None:
        """Start with the jobs 0 .. count - 1; jobs in `fused` run several at a time."""
        # A sorted list is a heap.
        self._heap = [(False, index) for index in range(count)]
        self._fused = frozenset(fused)

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, index: int, last: bool) -> None:
        """Add a job; behind all others if `last`."""
        heapq.heappush(self._heap, (last, index))

    def remove(self, indices: Collection[int]) -> None:
        """Remove jobs."""
        self._heap = [entry for entry in self._heap if entry[1] not in indices]
        heapq.heapify(self._heap)

    def next_chunk(self, jobs_per_second: int, workers: int) -> list[int]:
        """Remove and return the next jobs for one of `workers` workers.

        Chunks shrink towards the end, so that workers finish together. A chunk of fused jobs is as
        large as possible, whatever the rate, and holds no other jobs.
        """
        fused = self._next_is_fused
        fair = max(2 if fused else 1, len(self._heap) // (2 * workers))
        size = min(MAX_CHUNK, fair) if fused else min(MAX_CHUNK, fair, jobs_per_second)
        taken: list[int] = []
        while self._heap and len(taken) < size and self._next_is_fused == fused:
            taken.append(heapq.heappop(self._heap)[1])
        return taken

    @property
    def _next_is_fused(self) -> bool:
        """True if the next job is a fused one; False if no job waits."""
        return bool(self._heap) and self._heap[0][1] in self._fused
