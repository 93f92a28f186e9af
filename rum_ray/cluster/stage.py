"""The jobs of one stage: which wait, which are done, and which failed for good."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rum_ray.cluster.backlog import Backlog
from rum_ray.errors import RumRayError, StalledError

MAX_ATTEMPTS = 3
"""Attempts per job that raises an unexpected error, or that ends the process of its worker."""


class Stage:
    """The state of the jobs of a stage, by number.

    Attributes:
        number: number of the stage in its queue.
        work: handle by which workers load what they run; opaque here.
        kinds: class name per job, for messages.
        backlog: jobs that wait for a worker.
        done: jobs that are finished, or given up.
        cancelled: jobs that have become unnecessary.
        errors: permanent errors by job.
        results: small results by job, where jobs return some.
        payloads: content of the jobs that were added one by one.
        copied: jobs that two workers have at the same time.
        requeued: number of times that a job was requeued.
        started: time at which its first job was handed out.
        latest: time at which its latest job was finished.
    """

    def __init__(
        self, number: int, kinds: Sequence[str], fused: Iterable[int] = (), work: Any = None
    ) -> None:
        """Start with all jobs in the backlog."""
        self.number, self.work, self.kinds = number, work, [*kinds]
        self.backlog = Backlog(len(kinds), fused)
        self.done: set[int] = set()
        self.cancelled: set[int] = set()
        self.errors: dict[int, RumRayError] = {}
        self.results: dict[int, Any] = {}
        self.payloads: dict[int, Any] = {}
        self.copied: set[int] = set()
        self.requeued = 0
        self.started: float | None = None
        self.latest: float | None = None
        self._failures: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()

    @property
    def is_over(self) -> bool:
        """True if every job is settled."""
        total = len(self.kinds)
        if len(self.done) + len(self.cancelled) < total:
            # Without the union, which takes milliseconds for 100,000 jobs.
            return False
        return len(self.done | self.cancelled) == total

    def is_settled(self, index: int) -> bool:
        """Return True if a job is done or cancelled."""
        return index in self.done or index in self.cancelled

    def add(self, kind: str, payload: Any) -> int:
        """Add a job and return its number."""
        index = len(self.kinds)
        self.kinds.append(kind)
        self.payloads[index] = payload
        self.backlog.put(index)
        return index

    def finish(self, indices: Iterable[int]) -> None:
        """Note that jobs are done, whoever did them; the first result of a job counts."""
        new = {*indices} - self.done
        self.done |= new
        self.backlog.remove(new)

    def fail(self, index: int, error: RumRayError) -> None:
        """Record a permanent error as the result of a job."""
        if not self.is_settled(index):
            self.errors[index] = error
            self.finish([index])

    def cancel(self, indices: Iterable[int]) -> None:
        """Remove jobs that have become unnecessary, and their errors."""
        self.cancelled.update(indices)
        self.backlog.remove(self.cancelled)
        for index in self.cancelled & self.errors.keys():
            del self.errors[index]

    def requeue(self, indices: Iterable[int]) -> None:
        """Return jobs to the backlog, except settled ones."""
        for index in indices:
            if not self.is_settled(index):
                self.requeued += 1
                last = self._failures[index] > 1
                self.backlog.put(index, last=last, alone=self._deaths[index] > 0)

    def retry(self, index: int, reason: str) -> None:
        """Requeue a job that raised, or give it up after `MAX_ATTEMPTS`."""
        self._failures[index] += 1
        self._limit(index, self._failures[index], reason)
        self.requeue([index])

    def charge_death(self, index: int) -> None:
        """Count the death of a worker against the job that it had in hand."""
        self._deaths[index] += 1
        self._limit(index, self._deaths[index], "its worker's process died")

    def _limit(self, index: int, attempts: int, reason: str) -> None:
        """Give a job up after `MAX_ATTEMPTS`."""
        if attempts >= MAX_ATTEMPTS:
            text = f"{self.kinds[index]} failed in each of {attempts} attempts: {reason}."
            self.fail(index, StalledError(text))


def too_large(kind: str, reason: str) -> StalledError:
    """Return the error of a job that is too large for the memory of every device."""
    return StalledError(
        f"{kind} ran out of memory with no other worker of this stage on its device: {reason}. "
        "Lower the recipe's batch_size, or use a device with more memory."
    )
