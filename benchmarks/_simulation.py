"""A simulated cluster around the real queue: the same rules of leases, deaths and copies.

Only time is simulated. Workers, machines, jobs and losses are events; every hand-out, requeue and
copy is decided by `rum_ray.cluster.queue.Queue` as on a real cluster.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any
from unittest.mock import patch

from rum_ray.cluster import queue as queues
from rum_ray.cluster.queue import Queue
from rum_ray.cluster.queue_actor import TAKE_SECONDS
from rum_ray.cluster.worker import HEARTBEAT_SECONDS

SPAN = 10
"""Seconds over which requests of idle workers are averaged."""


@dataclass(frozen=True)
class Scenario:
    """A campaign and what happens to it.

    Attributes:
        jobs: number of jobs.
        workers: number of workers.
        per_machine: workers per machine.
        seconds: time of a job on a worker.
        loss_every: mean seconds between two lost machines; 0 for none.
        return_after: seconds until another machine is there, with workers.
        death_every: mean seconds between two dead worker processes; 0 for none.
        restart: seconds until a dead process is replaced.
        checkpoint: seconds between two checkpoints; 0 for none.
        together: True restarts all workers after each loss or death, as one group would.
    """

    jobs: int
    workers: int
    per_machine: int = 1
    seconds: float = 900.0
    loss_every: float = 0.0
    return_after: float = 120.0
    death_every: float = 0.0
    restart: float = 10.0
    checkpoint: float = 30.0
    together: bool = False


@dataclass
class Outcome:
    """What a simulated campaign took.

    Attributes:
        wall: seconds; None if the limit was reached first.
        effective: share of the workers' time that went into finished work.
        body: the same, up to the time at which the last job was handed out.
        repeated: share of the work that was done again after a loss.
        asks_per_second: largest number of requests to the queue in one second, heartbeats apart.
        idle_asks_per_second: requests that found no job, mean over 10 s; the largest such mean.
        heartbeats_per_second: requests that keep leases alive.
        queue_share: time of the queue's own code, as a share of one core.
        losses: lost machines and dead processes.
        copies: jobs that were handed out twice at the end.
    """

    wall: float | None = None
    effective: float = 0.0
    body: float = 0.0
    repeated: float = 0.0
    asks_per_second: int = 0
    idle_asks_per_second: float = 0.0
    heartbeats_per_second: float = 0.0
    queue_share: float = 0.0
    losses: int = 0
    copies: int = 0


@dataclass(eq=False)
class _Slot:
    """A worker process: its name, the job in hand, and when the job began."""

    name: str
    machine: int
    rank: int
    job: int | None = None
    began: float = 0.0
    alive: bool = True


@dataclass(eq=False)
class Simulation:
    """Runs one scenario."""

    scenario: Scenario
    seed: int = 0
    limit: float = 3e6
    now: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    def run(self) -> Outcome:
        """Return what the campaign takes; `wall` is None if the limit is reached first."""
        scenario, self.outcome = self.scenario, Outcome()
        self._order, self._draw = itertools.count(), random.Random(self.seed)
        self._saved: dict[int, float] = {}
        self._slots: dict[tuple[int, int], _Slot] = {}
        self._idle: list[_Slot] = []
        self._asks: dict[int, int] = {}
        self._idle_asks: dict[int, int] = {}
        self._repeated, self._spent, self._handed_out, self._body = 0.0, 0.0, 0.0, 0.0
        with patch.object(queues.time, "monotonic", lambda: self.now):
            self._queue = Queue()
            self._queue.open(["Job"] * scenario.jobs, scenario.workers)
            for machine in range(scenario.workers // scenario.per_machine):
                self._machine(machine)
            self._later(scenario.loss_every, self._lose)
            self._later(scenario.death_every, self._die)
            while not self._queue.stage.is_over and self.now < self.limit:
                self.now, _, event = heapq.heappop(self._events)
                event()
        return self._measured()

    def _measured(self) -> Outcome:
        """Return the outcome."""
        scenario, found = self.scenario, self.outcome
        useful = len(self._queue.stage.done) * scenario.seconds
        found.wall = self.now if self._queue.stage.is_over else None
        found.effective = useful / (scenario.workers * self.now)
        until = self._handed_out or self.now
        found.body = (self._body or self._progress()) / (scenario.workers * until)
        found.repeated = self._repeated / max(useful, 1.0)
        found.asks_per_second = max(self._asks.values())
        found.idle_asks_per_second = max(self._idle_asks.values(), default=0) / SPAN
        found.heartbeats_per_second = scenario.workers / HEARTBEAT_SECONDS
        found.queue_share = self._spent / self.now
        found.copies = len(self._queue.stage.copied)
        return found

    def _progress(self) -> float:
        """Return the seconds of work that are finished, or in hand and not lost yet."""
        done = len(self._queue.stage.done) * self.scenario.seconds
        saved = sum(s for job, s in self._saved.items() if job not in self._queue.stage.done)
        busy = (slot for slot in self._slots.values() if slot.alive and slot.job is not None)
        return done + saved + sum(self.now - slot.began for slot in busy)

    def _later(self, mean: float, event: Callable[[], None]) -> None:
        """Let a random event happen after a mean time; never if that is 0."""
        if mean:
            self._at(self._draw.expovariate(1 / mean), event)

    def _at(self, delay: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), event))

    def _timed(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call the queue and count its time."""
        start = process_time()
        result = call(*args)
        self._spent += process_time() - start
        return result

    def _machine(self, machine: int) -> None:
        """Bring a machine up, with all its workers."""
        for rank in range(self.scenario.per_machine):
            self._worker(machine, rank)

    def _worker(self, machine: int, rank: int) -> None:
        """Start a worker."""
        slot = _Slot(f"{machine}/{rank}/{next(self._order)}", machine, rank)
        self._slots[machine, rank] = slot
        self._timed(self._queue.register, slot.name, str(machine), rank, str(machine))
        self._ask(slot)

    def _ask(self, slot: _Slot) -> None:
        """Let a worker ask for a job."""
        if not slot.alive or slot.job is not None:
            return
        second = int(self.now)
        self._asks[second] = self._asks.get(second, 0) + 1
        lease = self._timed(self._queue.take, slot.name)
        self._queue._workers[slot.name].last_heartbeat = float("inf")
        if not self._handed_out and not self._queue.stage.backlog:
            self._handed_out, self._body = self.now, self._progress()
        if lease.jobs:
            (slot.job,), slot.began = lease.jobs, self.now
            left = self.scenario.seconds - self._saved.get(slot.job, 0.0)
            self._at(left, lambda: self._finish(slot, lease.jobs[0]))
        else:
            span = second // SPAN
            self._idle_asks[span] = self._idle_asks.get(span, 0) + 1
            self._idle.append(slot)
            self._at(TAKE_SECONDS, lambda: self._ask(slot))

    def _finish(self, slot: _Slot, job: int) -> None:
        """End a job, unless its worker has died."""
        if slot.alive and slot.job == job:
            slot.job = None
            self._timed(self._queue.finish, slot.name, 0, {job: None})
            self._ask(slot)

    def _stop(self, slot: _Slot) -> None:
        """End a worker; the work since its last checkpoint is lost."""
        slot.alive = False
        if slot.job is not None:
            before = self._saved.get(slot.job, 0.0)
            passed = self.now - slot.began
            each = self.scenario.checkpoint
            kept = passed // each * each if each else 0.0
            self._saved[slot.job] = max(before, before + kept)
            self._repeated += passed - kept

    def _wake(self) -> None:
        """Let idle workers take requeued jobs, as the actor of the queue does."""
        idle, self._idle = self._idle, []
        for slot in idle[: len(self._queue.stage.backlog)]:
            self._ask(slot)

    def _lose(self) -> None:
        """Lose a machine."""
        machine = self._draw.randrange(self.scenario.workers // self.scenario.per_machine)
        mine = [slot for (at, _), slot in self._slots.items() if at == machine and slot.alive]
        self._later(self.scenario.loss_every, self._lose)
        if mine:
            self.outcome.losses += 1
            for slot in mine:
                self._stop(slot)
            self._timed(self._queue.lost, str(machine))
            self._at(self.scenario.return_after, lambda: self._machine(machine))
            self._restart_all()
            self._wake()

    def _die(self) -> None:
        """Kill the process of a worker."""
        slot = self._draw.choice([*self._slots.values()])
        self._later(self.scenario.death_every, self._die)
        if slot.alive:
            self.outcome.losses += 1
            self._stop(slot)
            self._timed(self._queue.died, str(slot.machine), slot.rank)
            if not self.scenario.together:
                delay = self.scenario.restart
                self._at(delay, lambda: self._worker(slot.machine, slot.rank))
            self._restart_all()
            self._wake()

    def _restart_all(self) -> None:
        """Restart all workers, if they are one group."""
        if not self.scenario.together:
            return
        self._epoch = getattr(self, "_epoch", 0) + 1
        epoch = self._epoch
        for slot in self._slots.values():
            if slot.alive:
                self._stop(slot)
                self._queue.lost(str(slot.machine))

        def begin() -> None:
            # A death during the restart begins it again.
            if epoch == self._epoch:
                for machine, rank in [*self._slots]:
                    self._worker(machine, rank)

        self._at(self.scenario.restart, begin)
