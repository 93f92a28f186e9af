"""The jobs that are left, who has which, and what went wrong; lives in an actor."""

import time
from collections import Counter, deque
from collections.abc import Sequence

from rum_ray.errors import RumRayError, StalledError
from rum_ray.work import Job

MAX_CHUNK = 8
MAX_ATTEMPTS = 3
MAX_DEATHS = 20
LEASE_SECONDS = 60.0


class Queue:
    """Hands out jobs to workers until all are done; one lives in an actor beside the driver."""

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        """Start with all jobs waiting."""
        self._jobs, self._workers = list(jobs), workers
        self._waiting = deque(range(len(jobs)))
        self._leases: dict[int, int] = {}
        self._heard: dict[int, float] = {}
        self._done: set[int] = set()
        self._errors: dict[int, RumRayError] = {}
        self._attempts: Counter[int] = Counter()
        self._started = time.monotonic()

    def alive(self, rank: int) -> None:
        """Note that a worker lives; its jobs stay its own, however long they take."""
        self._heard[rank] = time.monotonic()

    def join(self, rank: int) -> None:
        """Take back what this rank had when it died; the first job may have been the reason."""
        self.alive(rank)
        for first, index in enumerate(i for i, owner in [*self._leases.items()] if owner == rank):
            self.again(index, "its worker died", MAX_DEATHS if first == 0 else None)

    def take(self, rank: int) -> list[tuple[int, Job]] | None:
        """Return jobs for a worker: some, none for now (ask again), or None for good.

        Chunks shrink towards the end, so that workers finish together. A job whose worker has been
        silent for long is handed out again; doing one twice does no harm.
        """
        self.alive(rank)
        if not self._waiting:
            now = time.monotonic()
            for index, owner in list(self._leases.items()):
                if now - self._heard[owner] > LEASE_SECONDS:
                    self.again(index, "its worker fell silent", None)
        size = min(MAX_CHUNK, max(1, len(self._waiting) // (2 * self._workers)))
        chunk = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        self._leases.update(dict.fromkeys(chunk, rank))
        if not chunk and not self._leases:
            return None
        return [(index, self._jobs[index]) for index in chunk]

    def finish(self, index: int, error: RumRayError | None = None) -> None:
        """Note that a job is done, or that it cannot be."""
        self._leases.pop(index, None)
        if error is not None and index not in self._done:
            self._errors[index] = error
        self._done.add(index)

    def drop(self, indices: Sequence[int]) -> None:
        """Count jobs as done that are not needed any more, whatever went wrong with them."""
        self._done.update(indices)
        self._waiting = deque(index for index in self._waiting if index not in self._done)
        for index in indices:
            self._errors.pop(index, None)

    def again(self, index: int, reason: str, allowed: int | None = MAX_ATTEMPTS) -> None:
        """Let a job wait for another attempt, or give it up after so many; None is no limit."""
        self._leases.pop(index, None)
        if index in self._done:
            return
        self._attempts[index] += allowed is not None
        if allowed is None or self._attempts[index] < allowed:
            self._waiting.append(index)
            return
        name = type(self._jobs[index]).__name__
        self.finish(index, StalledError(f"{name} failed in each of {allowed} attempts: {reason}."))

    def progress(self) -> tuple[int, float]:
        """Return how many jobs are done, and for how many seconds no worker was heard of."""
        return len(self._done), time.monotonic() - max([self._started, *self._heard.values()])

    def errors(self) -> list[RumRayError]:
        """Return what cannot be mended by trying again."""
        return [*self._errors.values()]
