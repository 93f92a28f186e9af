"""The queue of jobs: backlog, leases and errors of one Train run; an actor.

It knows jobs by number only, so its memory does not depend on what they carry, and its process
imports no PyTorch. Each worker has a name of its own and belongs to the group that Train started
together.
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
    """Hands out jobs to workers until all are done; it runs in an actor on the driver's node."""

    def __init__(self, kinds: Sequence[str], workers: int, fused: Iterable[int] = ()) -> None:
        """Start with all jobs in the backlog.

        Args:
            kinds: class name per job, for messages.
            workers: maximal number of workers.
            fused: numbers of the jobs that run together if a worker has several.
        """
        self._kinds, self._max_workers = list(kinds), workers
        self._backlog = Backlog(len(kinds), fused)
        self._done: set[int] = set()
        self._cancelled: set[int] = set()
        self._errors: dict[int, RumRayError] = {}
        self._failures: Counter[int] = Counter()
        self._deaths: Counter[int] = Counter()
        self._requeued = 0
        self._workers: dict[str, Worker] = {}
        self._memory: dict[str, float] = {}
        self._capacity: dict[str, int] = {}
        self._rejection: RumRayError | None = None
        self._group = ""
        self._former_groups: set[str] = set()
        self._last_heartbeat = time.monotonic()
        self._started: float | None = None

    def register(self, worker: str, group: str, device: str) -> None:
        """Register a worker.

        A new group id means that Train restarted all workers: requeue the leases of the old group,
        and count a death against the first job of each worker, which may have caused it. A device
        whose memory was too small for more workers gets no more than before.
        """
        if group in self._former_groups:
            return
        now = self._last_heartbeat = time.monotonic()
        self._started = now if self._started is None else self._started
        if group != self._group:
            self._replace_group(group)
        present = sum(other.device == device for other in self._workers.values())
        if present < self._capacity.get(device, present + 1):
            self._workers[worker] = Worker(device, now)

    def _replace_group(self, group: str) -> None:
        """Requeue the leases of the current group and begin another."""
        self._former_groups |= {self._group} - {""}
        self._group, former, self._workers = group, self._workers, {}
        self._memory = {}
        for worker in former.values():
            for index in worker.leased[:1]:
                self._deaths[index] += 1
                if self._deaths[index] == MAX_DEATHS:
                    self._give_up(index, MAX_DEATHS, "its worker died")
            self._requeue(worker, worker.leased)

    def reject(self, worker: str, error: RumRayError) -> None:
        """Remove a worker whose results would differ; an error if jobs are left in the end."""
        self._workers.pop(worker, None)
        self._rejection = error

    def heartbeat(self, worker: str, memory: float | None = None) -> None:
        """Note that a worker is alive, and the share of its device's memory in use.

        A heartbeat renews the leases of its jobs, however long they take.
        """
        self._last_heartbeat = time.monotonic()
        if worker in self._workers:
            self._workers[worker].last_heartbeat = self._last_heartbeat
            if memory is not None:
                self._memory[self._workers[worker].device] = memory

    def take(self, worker: str, done: Iterable[int] = ()) -> list[int] | None:
        """Lease jobs to a worker: some, none for now (ask again), or None for good.

        A chunk is as long as the worker finished in one second, so that a slow worker holds few
        jobs; see `Backlog.next_chunk`. Expired leases are handed out again: jobs are idempotent.

        Args:
            worker: name; a worker of a former group gets None.
            done: jobs that it has finished since its last message.
        """
        self.finish(worker, done)
        mine = self._workers.get(worker)
        if mine is None:
            return None
        for lost in [*mine.leased]:
            self._retry(mine, lost, "its worker reported no result")
        if not self._backlog:
            self._expire_leases()
        chunk = self._backlog.next_chunk(mine.jobs_per_second, self._max_workers)
        mine.chunk_started, mine.chunk_size = mine.last_heartbeat, len(chunk)
        mine.leased = [*chunk]
        if not chunk and not any(other.leased for other in self._workers.values()):
            return None
        return chunk

    def _expire_leases(self) -> None:
        """Requeue the jobs of workers without a heartbeat for `LEASE_SECONDS`."""
        for other in self._workers.values():
            if self._last_heartbeat - other.last_heartbeat > LEASE_SECONDS:
                self._requeue(other, other.leased)

    def finish(self, worker: str, done: Iterable[int]) -> None:
        """Note that a worker has finished jobs; results of former groups count, too."""
        self.heartbeat(worker)
        done = [*done]
        self._done.update(done)
        if worker in self._workers:
            mine = self._workers[worker]
            mine.consecutive_failures = 0 if done else mine.consecutive_failures
            mine.leased = [index for index in mine.leased if index not in self._done]

    def fail(self, worker: str, index: int, error: RumRayError) -> None:
        """Record a permanent error as the result of a job."""
        if not self._is_settled(index):
            self._errors[index] = error
        self.finish(worker, [index])

    def cancel(self, indices: Iterable[int]) -> None:
        """Remove jobs that have become unnecessary, and their errors."""
        self._cancelled.update(indices)
        self._backlog.remove(self._cancelled)
        for index in self._cancelled & self._errors.keys():
            del self._errors[index]

    def requeue(self, worker: str, index: int, reason: str) -> bool:
        """Requeue a job that raised; give it up after `MAX_ATTEMPTS`.

        Return True if its worker must leave: its jobs fail one after another, which may be its own
        fault, and there are other workers.
        """
        mine = self._workers.get(worker)
        if mine is None:
            return True
        self._retry(mine, index, reason)
        mine.consecutive_failures += 1
        faulty = mine.consecutive_failures >= MAX_FAILURES and len(self._workers) > 1
        if faulty:
            self._requeue(mine, mine.leased)
            del self._workers[worker]
        return faulty

    def out_of_memory(self, worker: str, index: int, reason: str) -> bool:
        """Requeue a job that ran out of memory; return True if its worker must leave.

        The worker leaves if others share its device: the stage continues with one less. The last
        one tries again if others were there when its job began; otherwise the error is permanent.
        """
        mine = self._workers.get(worker)
        if mine is None:
            return True
        others = [w for w in self._workers.values() if w is not mine and w.device == mine.device]
        for other in others:
            other.shared_memory = True
        if not others and not mine.shared_memory:
            self.fail(worker, index, _too_large(self._kinds[index], reason))
            return False
        mine.shared_memory = False
        self._requeue(mine, mine.leased if others else [index])
        if others:
            del self._workers[worker]
            self._capacity[mine.device] = len(others)
        return bool(others)

    def _is_settled(self, index: int) -> bool:
        """Return True if a job is done or cancelled."""
        return index in self._done or index in self._cancelled

    def _requeue(self, worker: Worker, indices: Iterable[int]) -> None:
        """End leases of a worker and return the jobs to the backlog."""
        for index in [*indices]:
            worker.leased = [leased for leased in worker.leased if leased != index]
            if not self._is_settled(index):
                self._requeued += 1
                self._backlog.put(index, self._failures[index] > 1)

    def _retry(self, worker: Worker, index: int, reason: str) -> None:
        """Requeue a job that failed, or give it up after `MAX_ATTEMPTS`."""
        self._failures[index] += 1
        if self._failures[index] >= MAX_ATTEMPTS:
            self._give_up(index, MAX_ATTEMPTS, reason)
        self._requeue(worker, [index])

    def _give_up(self, index: int, attempts: int, reason: str) -> None:
        """Record that a job failed in every attempt, unless it is settled."""
        if not self._is_settled(index):
            error = f"{self._kinds[index]} failed in each of {attempts} attempts: {reason}."
            self._errors[index] = StalledError(error)
            self._done.add(index)

    def progress(self) -> tuple[ProgressState, float]:
        """Return the progress of the jobs, and the seconds since the last heartbeat of any."""
        now = time.monotonic()
        state = ProgressState(
            done=len(self._done - self._cancelled),
            total=len(self._kinds) - len(self._cancelled),
            seconds=0.0 if self._started is None else now - self._started,
            again=self._requeued,
            failed=len(self._errors),
            restarts=len(self._former_groups),
            memory=dict(self._memory),
        )
        return state, now - self._last_heartbeat

    def errors(self) -> list[RumRayError]:
        """Return the permanent errors."""
        rejected = [self._rejection] if self._rejection is not None and self._backlog else []
        return [*self._errors.values(), *rejected]


def _too_large(kind: str, reason: str) -> StalledError:
    """Return the error of a job that is too large for the memory of every device."""
    return StalledError(
        f"{kind} ran out of memory with no other worker of this stage on its device: {reason}. "
        "Lower the recipe's batch_size, or use a device with more memory."
    )
