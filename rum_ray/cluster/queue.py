"""The jobs that are left, who has which, and what went wrong; lives in an actor."""

import time
from collections import Counter, deque
from collections.abc import Sequence

from rum_ray.errors import RumRayError
from rum_ray.work import Context, Job

MAX_CHUNK = 8
MAX_ATTEMPTS = 3
LEASE_SECONDS = 60.0


class Queue:
    """Hands out jobs to workers until all are done; one lives in an actor beside the driver."""

    def __init__(self, jobs: Sequence[Job], context: Context, workers: int) -> None:
        """Start with all jobs waiting."""
        self._jobs, self._context, self._workers = list(jobs), context, workers
        self._waiting = deque(range(len(jobs)))
        self._leases: dict[int, tuple[int, float]] = {}
        self._done: set[int] = set()
        self._longest = 0.0
        self._errors: list[RumRayError] = []
        self._attempts: Counter[int] = Counter()

    def shared(self) -> Context:
        """Return the data and the store, which a worker asks for once."""
        return self._context

    def join(self, rank: int) -> None:
        """Take back what this rank had when it died."""
        for index, (owner, _) in list(self._leases.items()):
            if owner == rank:
                del self._leases[index]
                self._waiting.appendleft(index)

    def take(self, rank: int) -> list[tuple[int, Job]] | None:
        """Return jobs for a worker: some, none for now (ask again), or None for good.

        Chunks shrink towards the end, so that workers finish together. A job whose worker has been
        silent for long is handed out again; doing one twice does no harm.
        """
        now = time.monotonic()
        if not self._waiting:
            patience = max(LEASE_SECONDS, 10 * self._longest)
            late = [i for i, (_, since) in self._leases.items() if now - since > patience]
            for index in late:
                del self._leases[index]
            self._waiting.extend(late)
        size = min(MAX_CHUNK, max(1, len(self._waiting) // (2 * self._workers)))
        chunk = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        self._leases.update(dict.fromkeys(chunk, (rank, now)))
        if not chunk and not self._leases:
            return None
        return [(index, self._jobs[index]) for index in chunk]

    def finish(self, index: int, seconds: float, error: RumRayError | None) -> None:
        """Note that a job is done, or that it cannot be."""
        self._leases.pop(index, None)
        now = time.monotonic()
        self._leases = {i: (owner, now) for i, (owner, _) in self._leases.items()}
        self._longest = max(self._longest, seconds)
        if error is not None and index not in self._done:
            self._errors.append(error)
        self._done.add(index)

    def again(self, index: int) -> bool:
        """Return whether a job that raised is worth another attempt; if so, it waits again."""
        self._attempts[index] += 1
        if self._attempts[index] >= MAX_ATTEMPTS:
            return False
        self._leases.pop(index, None)
        self._waiting.append(index)
        return True

    def progress(self) -> tuple[int, float]:
        """Return how many jobs are done, and the seconds that the longest took."""
        return len(self._done), self._longest

    def errors(self) -> list[RumRayError]:
        """Return what cannot be mended by trying again."""
        return self._errors
