"""Which jobs are left, who has which, and what went wrong; lives in an actor.

It knows numbers of jobs only, so that its memory does not grow with what they carry. Workers come
and go: each has a name of its own, and belongs to a group that Train started together.
"""

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rum_ray.errors import RumRayError, StalledError
from rum_ray.study.progress import Standing

MAX_CHUNK = 8
CHUNK_SECONDS = 1.0
MAX_ATTEMPTS = 3
MAX_DEATHS = 20
LEASE_SECONDS = 60.0


@dataclass
class _Worker:
    """What is known of a live worker.

    Attributes:
        place: the device that it shares with the others of this place.
        heard: when it was last heard of.
        took: when it took its last chunk, and how many jobs that had.
        held: the jobs that it has, in the order in which it does them.
        again: whether it may run out of memory once more, since it was not alone until now.
    """

    place: str
    heard: float
    took: tuple[float, int] = (0.0, 0)
    held: list[int] = field(default_factory=list)
    again: bool = False


class Queue:
    """Hands out jobs to workers until all are done; one lives in an actor beside the driver."""

    def __init__(self, kinds: Sequence[str], workers: int, fused: bool = False) -> None:
        """Start with all jobs waiting.

        Args:
            kinds: what each job is called in messages.
            workers: how many there are at most.
            fused: whether some are done together, so that chunks must not be small.
        """
        self._kinds, self._most, self._fused = list(kinds), workers, fused
        # Jobs of low number first, so that the first models of a pool are finished first; those
        # that failed more than once come last. A sorted list is a heap.
        self._waiting = [(False, index) for index in range(len(kinds))]
        self._done: set[int] = set()
        self._dropped: set[int] = set()
        self._errors: dict[int, RumRayError] = {}
        self._attempts: Counter[int] = Counter()
        self._workers: dict[str, _Worker] = {}
        self._memory: dict[str, float] = {}
        self._rooms: dict[str, int] = {}
        self._unlike: RumRayError | None = None
        self._group, self._gone, self._again = "", set[str](), 0
        self._heard = time.monotonic()
        self._began: float | None = None

    def join(self, worker: str, group: str, place: str) -> None:
        """Let a worker in; the first of a new group means that all of the old one are gone.

        Their jobs are taken back, and the first that each had may have been the reason. A place
        that was too small for more workers takes no more than before.
        """
        if group in self._gone:
            return
        now = self._heard = time.monotonic()
        self._began = now if self._began is None else self._began
        if group != self._group:
            self._gone |= {self._group} - {""}
            self._group, gone, self._workers = group, self._workers, {}
            self._memory = {}
            for old in gone.values():
                for first, index in enumerate([*old.held]):
                    self._retry(old, index, "its worker died", MAX_DEATHS if first == 0 else None)
        here = sum(other.place == place for other in self._workers.values())
        if here < self._rooms.get(place, here + 1):
            self._workers[worker] = _Worker(place, now)

    def refuse(self, worker: str, error: RumRayError) -> None:
        """Let a worker go that would make other bits; an error if jobs are left in the end."""
        self._workers.pop(worker, None)
        self._unlike = error

    def alive(self, worker: str, memory: float | None = None) -> None:
        """Note that a worker lives, and the share of its device's memory that is in use.

        Its jobs stay its own, however long they take.
        """
        self._heard = time.monotonic()
        if worker in self._workers:
            self._workers[worker].heard = self._heard
            if memory is not None:
                self._memory[self._workers[worker].place] = memory

    def take(self, worker: str, done: Iterable[int] = ()) -> list[int] | None:
        """Return jobs for a worker: some, none for now (ask again), or None for good.

        Chunks are as long as the worker did in a second, so that one that is slow holds little, and
        shrink towards the end, so that workers finish together. Of jobs that are done together they
        are as long as they may be, and shrink to two. A job whose worker has been silent
        for long is handed out again; doing one twice does no harm.

        Args:
            worker: who asks; one of an old group has nothing to do here any more.
            done: what it has finished since it last told.
        """
        self.finish(worker, done)
        mine = self._workers.get(worker)
        if mine is None:
            return None
        if not self._waiting:
            self._take_back_from_the_silent()
        fair = max(2 if self._fused else 1, len(self._waiting) // (2 * self._most))
        fast = MAX_CHUNK if self._fused else self._did_in_a_second(mine)
        size = min(fast, fair, MAX_CHUNK, len(self._waiting))
        for lost in [*mine.held]:
            self._retry(mine, lost, "its worker never said how it went", MAX_ATTEMPTS)
        chunk = [heapq.heappop(self._waiting)[1] for _ in range(size)]
        mine.held = chunk
        mine.took = (mine.heard, size)
        if not chunk and not any(other.held for other in self._workers.values()):
            return None
        return [*chunk]

    def _did_in_a_second(self, worker: _Worker) -> int:
        """Return how many jobs a worker did in a second with its last chunk; at least one."""
        began, size = worker.took
        spent = max(worker.heard - began, 1e-9)
        return max(1, min(int(size * CHUNK_SECONDS / spent), MAX_CHUNK))

    def _take_back_from_the_silent(self) -> None:
        """Let the jobs of workers wait again that were not heard of for long."""
        for other in self._workers.values():
            if self._heard - other.heard > LEASE_SECONDS:
                for index in [*other.held]:
                    self._retry(other, index, "its worker fell silent", None)

    def finish(self, worker: str, done: Iterable[int]) -> None:
        """Note that a worker has done jobs; one whose group is gone has done them too."""
        self.alive(worker)
        self._done.update(done)
        if worker in self._workers:
            mine = self._workers[worker]
            mine.held = [index for index in mine.held if index not in self._done]

    def fail(self, worker: str, index: int, error: RumRayError) -> None:
        """Note that a job cannot be done."""
        if not self._is_over(index):
            self._errors[index] = error
        self.finish(worker, [index])

    def drop(self, indices: Iterable[int]) -> None:
        """Forget jobs that are not needed any more, whatever went wrong with them."""
        self._dropped.update(indices)
        self._waiting = [entry for entry in self._waiting if entry[1] not in self._dropped]
        heapq.heapify(self._waiting)
        for index in self._dropped & self._errors.keys():
            del self._errors[index]

    def again(self, worker: str, index: int, reason: str) -> None:
        """Let a job that raised wait for another attempt, or give it up after some."""
        if worker in self._workers:
            self._retry(self._workers[worker], index, reason, MAX_ATTEMPTS)

    def out_of_memory(self, worker: str, index: int, reason: str) -> bool:
        """Take back a job that ran out of memory; return whether its worker must leave.

        It leaves if others share its device: the stage goes on with one less. One that is left
        alone tries once more, since the others were there when it began; then it is an error.
        """
        mine = self._workers.get(worker)
        if mine is None:
            return True
        others = [w for w in self._workers.values() if w is not mine and w.place == mine.place]
        for other in others:
            other.again = True
        if not others and not mine.again:
            self.fail(worker, index, _too_large(self._kinds[index], reason))
            return False
        mine.again = False
        for returned in [*mine.held] if others else [index]:
            self._retry(mine, returned, reason, None)
        if others:
            del self._workers[worker]
            self._rooms[mine.place] = len(others)
        return bool(others)

    def _is_over(self, index: int) -> bool:
        """Return whether nobody waits for a job any more."""
        return index in self._done or index in self._dropped

    def _retry(self, worker: _Worker, index: int, reason: str, allowed: int | None) -> None:
        """Let a job wait again, or give it up after so many attempts; None does not count."""
        worker.held = [held for held in worker.held if held != index]
        if self._is_over(index):
            return
        self._again += 1
        self._attempts[index] += allowed is not None
        if allowed is None or self._attempts[index] < allowed:
            heapq.heappush(self._waiting, (self._attempts[index] > 1, index))
            return
        error = f"{self._kinds[index]} failed in each of {allowed} attempts: {reason}."
        self._errors[index] = StalledError(error)
        self._done.add(index)

    def standing(self) -> tuple[Standing, float]:
        """Return how far the jobs are, and for how many seconds no worker was heard of."""
        now = time.monotonic()
        standing = Standing(
            done=len(self._done - self._dropped),
            total=len(self._kinds) - len(self._dropped),
            seconds=0.0 if self._began is None else now - self._began,
            again=self._again,
            restarts=len(self._gone),
            memory=dict(self._memory),
        )
        return standing, now - self._heard

    def errors(self) -> list[RumRayError]:
        """Return what cannot be mended by trying again."""
        unlike = [self._unlike] if self._unlike is not None and self._waiting else []
        return [*self._errors.values(), *unlike]


def _too_large(kind: str, reason: str) -> StalledError:
    """Return the error of a job that no device here has the memory for."""
    return StalledError(
        f"{kind} ran out of memory with no other worker of this stage on its device: {reason}. "
        "Lower the recipe's batch_size, or use a device with more memory."
    )
