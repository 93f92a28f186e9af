"""What a queue keeps: jobs that wait, and workers that hold some."""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from rum_ray.jobs.train import MAX_TOGETHER as MAX_CHUNK

CHUNK_SECONDS = 1.0


@dataclass
class Worker:
    """What is known of a live worker.

    Attributes:
        place: the device that it shares with the others of this place.
        heard: when it was last heard of.
        began: when it took its last chunk.
        size: how many jobs that had.
        held: the jobs that it has, in the order in which it does them.
        again: whether it may run out of memory once more, since it was not alone until now.
        failures: how many of its jobs raised one after another.
    """

    place: str
    heard: float
    began: float = 0.0
    size: int = 0
    held: list[int] = field(default_factory=list)
    again: bool = False
    failures: int = 0

    @property
    def did_in_a_second(self) -> int:
        """How many jobs it did in a second with its last chunk; at least one."""
        spent = max(self.heard - self.began, 1e-9)
        return max(1, int(self.size * CHUNK_SECONDS / spent))


class Backlog:
    """Numbers of jobs: low ones first, and last those that failed more than once."""

    def __init__(self, count: int, fused: Iterable[int]) -> None:
        """Let the jobs 0 .. count - 1 wait; those of `fused` are done several at a time."""
        # A sorted list is a heap.
        self._heap = [(False, index) for index in range(count)]
        self._fused = frozenset(fused)

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, index: int, last: bool) -> None:
        """Let a job wait again."""
        heapq.heappush(self._heap, (last, index))

    def drop(self, indices: Collection[int]) -> None:
        """Forget jobs."""
        self._heap = [entry for entry in self._heap if entry[1] not in indices]
        heapq.heapify(self._heap)

    def chunk(self, fast: int, workers: int) -> list[int]:
        """Return the next jobs for one of so many workers, which does `fast` jobs in a second.

        Chunks shrink towards the end, so that workers finish together. Jobs that are done together
        are handed out as many as may be, whatever the time, and share no chunk with others.
        """
        fused = self._next_is_fused
        fair = max(2 if fused else 1, len(self._heap) // (2 * workers))
        size = min(MAX_CHUNK, fair) if fused else min(MAX_CHUNK, fair, fast)
        taken: list[int] = []
        while self._heap and len(taken) < size and self._next_is_fused == fused:
            taken.append(heapq.heappop(self._heap)[1])
        return taken

    @property
    def _next_is_fused(self) -> bool:
        """Whether the first job is done together with others; no, if none waits."""
        return bool(self._heap) and self._heap[0][1] in self._fused
