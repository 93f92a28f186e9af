"""The queue of jobs: workers, their leases, and the stage that they work on.

It knows jobs by number only, so its memory does not depend on what they carry, and its process
imports no PyTorch. It lives as long as a command: workers stay while one stage follows another.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rum_ray.cluster.backlog import Worker
from rum_ray.cluster.stage import Stage, too_large
from rum_ray.errors import RumRayError
from rum_ray.study.progress import ProgressState

LEASE_SECONDS = 60.0
"""The jobs of a worker that is silent for this long are requeued."""
EXPIRE_SECONDS = 1.0
SILENT_SECONDS = 10.0
"""The jobs of a worker that is silent for this long are copied to idle workers."""
COPY_SECONDS = 5.0
"""No job that has run for less than this is copied to a second worker."""


@dataclass(frozen=True)
class Lease:
    """Jobs for a worker; none means that it asks again.

    Attributes:
        stage: number of the stage, -1 before the first one.
        jobs: numbers of the jobs.
        payloads: content of jobs that were added one by one, by number.
    """

    stage: int
    jobs: Sequence[int]
    payloads: Mapping[int, Any]


class Queue:
    """Hands out the jobs of one stage after another.

    Workers have names of their own. A stage ends when each of its jobs is done, cancelled or
    failed; messages about jobs of an earlier stage change nothing.
    """

    def __init__(self) -> None:
        """Start without workers and jobs."""
        self.stage = Stage(-1, [])
        self.rejections: list[RumRayError] = []
        self.closed = False
        self._most = 1
        self._workers: dict[str, Worker] = {}
        self._capacity: dict[str, int] = {}
        self._restarts = 0
        self._expired = time.monotonic()

    def open(
        self, kinds: Sequence[str], workers: int, fused: Iterable[int] = (), work: Any = None
    ) -> int:
        """Begin a stage and return its number; jobs of the stage before are dropped.

        Args:
            kinds: class name per job, for messages.
            workers: maximal number of workers, by which chunks shrink towards the end.
            fused: numbers of the jobs that run together if a worker has several.
            work: handle by which workers load what they run.
        """
        self.stage, self._most = Stage(self.stage.number + 1, kinds, fused, work), workers
        self._capacity.clear()
        self._restarts = 0
        for worker in self._workers.values():
            worker.leased, worker.paused, worker.consecutive_failures = [], False, 0
        return self.stage.number

    def register(self, name: str, shard: str, rank: int, device: str) -> None:
        """Register a worker. One of the same shard and rank before it has died."""
        self.died(shard, rank)
        self._workers[name] = Worker(shard, rank, device, time.monotonic())
        self._pause_surplus(device)

    def died(self, shard: str, rank: int) -> None:
        """Remove a worker whose process died; the job that it had in hand may be the cause."""
        for name, worker in [*self._workers.items()]:
            if (worker.shard, worker.rank) == (shard, rank):
                for index in self._open_leases(worker)[:1]:
                    self.stage.charge_death(index)
                self._remove(name)
                self._restarts += 1

    def lost(self, shard: str) -> None:
        """Remove the workers of a shard that has ended, such as one of a lost machine."""
        mine = [name for name, worker in self._workers.items() if worker.shard == shard]
        for name in mine:
            self._remove(name)
        self._restarts += bool(mine)

    def reject(self, name: str, error: RumRayError) -> None:
        """Remove a worker that cannot do the jobs."""
        self._remove(name)
        self.rejections.append(error)

    def _remove(self, name: str) -> None:
        """Remove a worker and requeue its jobs."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            self.stage.requeue(self._open_leases(worker))
            self._pause_surplus(worker.device)
            self._resume_last()

    def _open_leases(self, worker: Worker) -> list[int]:
        """Return the jobs of a worker that nobody has finished."""
        return [index for index in worker.leased if not self.stage.is_settled(index)]

    def heartbeat(self, name: str, memory: float | None = None) -> None:
        """Note that a worker is alive, and the share of its device's memory in use.

        A heartbeat renews the leases of its jobs, however long they take.
        """
        if name in self._workers:
            self._workers[name].last_heartbeat = time.monotonic()
            self._workers[name].memory = memory

    def take(self, name: str) -> Lease | None:
        """Lease jobs to a worker: some, none for now (ask again), or None for good.

        A chunk is as long as the worker finished in one second, so that a slow worker holds few
        jobs; see `Backlog.next_chunk`. Expired leases are handed out again: jobs are idempotent. At
        the end of a stage, an idle worker gets a copy of a job that takes long elsewhere.
        """
        mine, stage, now = self._workers.get(name), self.stage, time.monotonic()
        if mine is None or self.closed:
            return None
        for lost in self._open_leases(mine):
            stage.retry(lost, "its worker reported no result")
        rate = mine.jobs_per_second
        mine.leased = []
        jobs: list[int] = []
        if not mine.paused:
            self._expire_leases(now)
            jobs = stage.backlog.next_chunk(rate, self._most) or self._copy(mine, now)
        mine.lease(jobs, now)
        if jobs and stage.started is None:
            stage.started = now
        payloads = {index: stage.payloads[index] for index in jobs if index in stage.payloads}
        return Lease(stage.number, jobs, payloads)

    def _expire_leases(self, now: float) -> None:
        """Requeue the jobs of silent workers; look once per second."""
        if now - self._expired < EXPIRE_SECONDS:
            return
        self._expired = now
        for worker in self._workers.values():
            if worker.leased and now - worker.last_heartbeat > LEASE_SECONDS:
                self.stage.requeue(self._open_leases(worker))
                worker.leased = []

    def _copy(self, mine: Worker, now: float) -> list[int]:
        """Return a job that another worker has in hand, if a second attempt may end sooner.

        Its worker is silent, or has another device and needs twice the mean time of a job.
        """
        stage = self.stage
        latest = now if stage.latest is None else stage.latest
        seconds = latest - (now if stage.started is None else stage.started)
        patience = 2 * seconds * len(self._workers) / max(len(stage.done), 1)
        busy = [worker for worker in self._workers.values() if worker.leased]
        for worker in sorted(busy, key=lambda worker: worker.chunk_started):
            silent = now - worker.last_heartbeat > SILENT_SECONDS
            slow = now - worker.chunk_started > max(patience, COPY_SECONDS)
            if worker is mine or not (silent or (slow and worker.device != mine.device)):
                continue
            for index in self._open_leases(worker):
                if index not in stage.copied:
                    stage.copied.add(index)
                    return [index]
        return []

    def finish(self, name: str, stage: int, done: Mapping[int, Any]) -> None:
        """Note that jobs are done, with small results where they have some."""
        worker = self._workers.get(name)
        if worker is not None:
            worker.last_heartbeat = time.monotonic()
        if stage != self.stage.number:
            return
        for index, result in done.items():
            self.stage.results.setdefault(index, result)
        self.stage.finish(done)
        if done:
            self.stage.latest = time.monotonic()
        if worker is not None:
            worker.consecutive_failures = 0 if done else worker.consecutive_failures
            worker.leased = self._open_leases(worker)

    def fail(self, name: str, stage: int, index: int, error: RumRayError) -> None:
        """Record a permanent error as the result of a job."""
        if stage == self.stage.number:
            self.stage.fail(index, error)
        self.finish(name, stage, {})

    def requeue(self, name: str, stage: int, index: int, reason: str) -> bool:
        """Requeue a job that raised an unexpected error; return True if its worker must stop.

        A worker whose jobs fail one after another may be the cause. It is paused until the next
        stage, if there are other workers.
        """
        mine = self._workers.get(name)
        if mine is None or stage != self.stage.number:
            return True
        mine.leased = [leased for leased in mine.leased if leased != index]
        self.stage.retry(index, reason)
        mine.consecutive_failures += 1
        others = any(not w.paused for w in self._workers.values() if w is not mine)
        if mine.is_failing and others:
            self._pause(mine)
        return mine.paused

    def out_of_memory(self, name: str, stage: int, index: int, reason: str) -> bool:
        """Requeue a job that ran out of memory; return True if its worker must stop.

        The worker is paused if others share its device: the stage continues with one less there.
        The last one tries again if others were there when its job began; otherwise the error is
        permanent.
        """
        mine = self._workers.get(name)
        if mine is None or stage != self.stage.number:
            return True
        others = [w for w in self._active(mine.device) if w is not mine]
        for other in others:
            other.shared_memory = True
        if not others and not mine.shared_memory:
            self.fail(name, stage, index, too_large(self.stage.kinds[index], reason))
            return False
        mine.shared_memory = False
        if others:
            self._capacity[mine.device] = len(others)
            self._pause(mine)
        else:
            mine.leased = [leased for leased in mine.leased if leased != index]
            self.stage.requeue([index])
        return bool(others)

    def _active(self, device: str) -> list[Worker]:
        """Return the workers of a device that are not paused, in the order of registration."""
        return [w for w in self._workers.values() if w.device == device and not w.paused]

    @property
    def paused(self) -> int:
        """Number of workers that get no jobs of this stage."""
        return sum(worker.paused for worker in self._workers.values())

    def _pause(self, worker: Worker) -> None:
        """Give a worker no more jobs of this stage; requeue what it has."""
        worker.paused = True
        self.stage.requeue(self._open_leases(worker))
        worker.leased = []

    def _pause_surplus(self, device: str) -> None:
        """Keep no more active workers on a device than its memory has room for.

        Workers that run jobs go on; a worker whose jobs failed stays paused.
        """
        if device in self._capacity:
            present = [w for w in self._workers.values() if w.device == device]
            present.sort(key=lambda worker: (worker.paused, worker.is_failing))
            for number, worker in enumerate(present):
                if number >= self._capacity[device] and not worker.paused:
                    self._pause(worker)
                elif number < self._capacity[device] and not worker.is_failing:
                    worker.paused = False

    def _resume_last(self) -> None:
        """Let workers whose jobs failed go on if nobody else is left."""
        if all(worker.paused for worker in self._workers.values()):
            for worker in self._workers.values():
                worker.paused, worker.consecutive_failures = False, 0
            for device in self._capacity:
                self._pause_surplus(device)

    def progress(self) -> ProgressState:
        """Return the progress of the stage, with the workers that are alive."""
        now, stage = time.monotonic(), self.stage
        alive = [w for w in self._workers.values() if now - w.last_heartbeat <= LEASE_SECONDS]
        alive.sort(key=lambda worker: worker.last_heartbeat)
        return ProgressState(
            done=len(stage.done - stage.cancelled),
            total=len(stage.kinds) - len(stage.cancelled),
            seconds=0.0 if stage.started is None else now - stage.started,
            again=stage.requeued,
            failed=len(stage.errors),
            restarts=self._restarts,
            memory={w.device: w.memory for w in alive if w.memory is not None},
            workers=len(alive),
            shards=len({worker.shard for worker in alive}),
            rejected=len(self.rejections),
        )
