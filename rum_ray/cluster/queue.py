"""Which jobs are left, who has which, and what went wrong; lives in an actor.

It knows numbers of jobs only, so that its memory does not grow with what they carry. Workers come
and go: each has a name of its own, and belongs to a group that Train started together.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rum_ray.cluster.backlog import Backlog, Worker
from rum_ray.errors import RumRayError, StalledError
from rum_ray.study.progress import ProgressState

MAX_ATTEMPTS = 3
MAX_DEATHS = 20
MAX_FAILURES = 3
LEASE_SECONDS = 60.0


class Queue:
    """Hands out jobs to workers until all are done; one lives in an actor beside the driver."""

    def __init__(self, kinds: Sequence[str], workers: int, fused: Iterable[int] = ()) -> None:
        """Start with all jobs waiting.

        Args:
            kinds: what each job is called in messages.
            workers: how many there are at most.
            fused: jobs that are done together, if a worker has several.
        """
        self._kinds, self._most = list(kinds), workers
        self._waiting = Backlog(len(kinds), fused)
        self._done: set[int] = set()
        self._dropped: set[int] = set()
        self._errors: dict[int, RumRayError] = {}
        self._failed: Counter[int] = Counter()
        self._died: Counter[int] = Counter()
        self._again = 0
        self._workers: dict[str, Worker] = {}
        self._memory: dict[str, float] = {}
        self._rooms: dict[str, int] = {}
        self._unlike: RumRayError | None = None
        self._group = ""
        self._gone: set[str] = set()
        self._heard = time.monotonic()
        self._began: float | None = None

    def register(self, worker: str, group: str, place: str) -> None:
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
                for index in old.held[:1]:
                    self._died[index] += 1
                    if self._died[index] == MAX_DEATHS:
                        self._give_up(index, MAX_DEATHS, "its worker died")
                self._take_back(old, old.held)
        here = sum(other.place == place for other in self._workers.values())
        if here < self._rooms.get(place, here + 1):
            self._workers[worker] = Worker(place, now)

    def reject(self, worker: str, error: RumRayError) -> None:
        """Let a worker go that would make other bits; an error if jobs are left in the end."""
        self._workers.pop(worker, None)
        self._unlike = error

    def heartbeat(self, worker: str, memory: float | None = None) -> None:
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

        Chunks are as long as the worker did in a second, so that one that is slow holds little; see
        `Backlog.chunk`. A job whose worker has been silent for long is handed out again; doing one
        twice does no harm.

        Args:
            worker: who asks; one of an old group has nothing to do here any more.
            done: what it has finished since it last told.
        """
        self.finish(worker, done)
        mine = self._workers.get(worker)
        if mine is None:
            return None
        for lost in [*mine.held]:
            self._fail(mine, lost, "its worker never said how it went")
        if not self._waiting:
            self._take_back_from_the_silent()
        chunk = self._waiting.chunk(mine.did_in_a_second, self._most)
        mine.began, mine.size, mine.held = mine.heard, len(chunk), [*chunk]
        if not chunk and not any(other.held for other in self._workers.values()):
            return None
        return chunk

    def _take_back_from_the_silent(self) -> None:
        """Let the jobs of workers wait again that were not heard of for long."""
        for other in self._workers.values():
            if self._heard - other.heard > LEASE_SECONDS:
                self._take_back(other, other.held)

    def finish(self, worker: str, done: Iterable[int]) -> None:
        """Note that a worker has done jobs; one whose group is gone has done them too."""
        self.heartbeat(worker)
        done = [*done]
        self._done.update(done)
        if worker in self._workers:
            mine = self._workers[worker]
            mine.failures = 0 if done else mine.failures
            mine.held = [index for index in mine.held if index not in self._done]

    def fail(self, worker: str, index: int, error: RumRayError) -> None:
        """Note that a job cannot be done."""
        if not self._is_over(index):
            self._errors[index] = error
        self.finish(worker, [index])

    def drop(self, indices: Iterable[int]) -> None:
        """Forget jobs that are not needed any more, whatever went wrong with them."""
        self._dropped.update(indices)
        self._waiting.drop(self._dropped)
        for index in self._dropped & self._errors.keys():
            del self._errors[index]

    def requeue(self, worker: str, index: int, reason: str) -> bool:
        """Let a job that raised wait, or give it up after some attempts.

        Return whether its worker must leave: it fails one job after another, which may be its own
        fault, and there are others.
        """
        mine = self._workers.get(worker)
        if mine is None:
            return True
        self._fail(mine, index, reason)
        mine.failures += 1
        sick = mine.failures >= MAX_FAILURES and len(self._workers) > 1
        if sick:
            self._take_back(mine, mine.held)
            del self._workers[worker]
        return sick

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
        self._take_back(mine, mine.held if others else [index])
        if others:
            del self._workers[worker]
            self._rooms[mine.place] = len(others)
        return bool(others)

    def _is_over(self, index: int) -> bool:
        """Return whether nobody waits for a job any more."""
        return index in self._done or index in self._dropped

    def _take_back(self, worker: Worker, indices: Iterable[int]) -> None:
        """Let jobs of a worker wait again."""
        for index in [*indices]:
            worker.held = [held for held in worker.held if held != index]
            if not self._is_over(index):
                self._again += 1
                self._waiting.put(index, self._failed[index] > 1)

    def _fail(self, worker: Worker, index: int, reason: str) -> None:
        """Let a job that did not succeed wait again, or give it up after some attempts."""
        self._failed[index] += 1
        if self._failed[index] >= MAX_ATTEMPTS:
            self._give_up(index, MAX_ATTEMPTS, reason)
        self._take_back(worker, [index])

    def _give_up(self, index: int, attempts: int, reason: str) -> None:
        """Note that a job was not done in so many attempts, if anybody waits for it."""
        if not self._is_over(index):
            error = f"{self._kinds[index]} failed in each of {attempts} attempts: {reason}."
            self._errors[index] = StalledError(error)
            self._done.add(index)

    def progress(self) -> tuple[ProgressState, float]:
        """Return how far the jobs are, and for how many seconds no worker was heard of."""
        now = time.monotonic()
        standing = ProgressState(
            done=len(self._done - self._dropped),
            total=len(self._kinds) - len(self._dropped),
            seconds=0.0 if self._began is None else now - self._began,
            again=self._again,
            failed=len(self._errors),
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
