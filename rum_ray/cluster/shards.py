"""Shards: Ray Train runs whose workers take jobs from the queue, one or more per machine.

The workers of a shard are on one machine, so the loss of a machine ends its own shards only. Train
replaces a worker that dies, alone: the others keep what they have in hand. A machine that joins
gets shards of its own.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rum_ray.cluster.groups import free_orphans
from rum_ray.cluster.train_run import fit, worker_resources
from rum_ray.errors import StalledError
from rum_ray.experiment import ClusterConfig

PLACE_SECONDS = 2.0
"""Time between two looks at the machines of the cluster."""
SETTLE_SECONDS = 30.0
"""No machine gets another shard for so long after one, while its workers start."""
STALL_SECONDS = 300.0
"""A stage fails after so long without any worker, unless machines are on their way."""
NO_ROOM_SECONDS = 60.0
"""A stage fails after so long if the cluster is too small, or workers start on no machine."""
MAX_STARTS = 3
"""Starts of a shard on one machine that may fail one after another."""


@dataclass(eq=False)
class _Shard:
    """A shard that has been started.

    Attributes:
        name: its name.
        node: id of its machine.
        workers: number of its workers.
        ended: done when the shard has ended.
    """

    name: str
    node: str
    workers: int
    ended: "Future[None]"


class Shards:
    """Keeps as many workers as wanted on the machines that there are.

    Args:
        queue: the actor of the queue.
        title: name of the experiment, for the names of shards.
        config: workers and resources of each.
        local: True for a cluster of this command on this machine.
        command: a short id of the command, for metrics.
    """

    def __init__(
        self, queue: Any, title: str, config: ClusterConfig, local: bool, command: str = ""
    ) -> None:
        self._queue, self._title, self._config, self._local = queue, title, config, local
        self._command = command
        self._wanted, self._count = 0, 0
        self._shards: list[_Shard] = []
        self._failures: Counter[str] = Counter()
        self._placed: dict[str, float] = {}
        self._looked = self._seen = 0.0
        self._reason = ""

    @property
    def active(self) -> bool:
        """True if a shard runs or starts."""
        return bool(self._shards)

    def want(self, workers: int) -> None:
        """Start workers up to this number, as far as there is room."""
        self._seen = time.monotonic()
        if workers > self._wanted:
            self._wanted, self._looked = workers, 0.0
            if not self._local:
                request_resources(bundles=[worker_resources(self._config)] * workers)

    def check(self, alive: int) -> str:
        """Replace shards that ended, and use machines that joined; return a note if none is there.

        Args:
            alive: number of live workers.

        Raises:
            StalledError: there is no worker, and none is to be expected.
        """
        now = time.monotonic()
        self._reap()
        if now - self._looked >= PLACE_SECONDS:
            self._looked = now
            self._place(now)
        if alive:
            self._seen = now
            # A machine whose shards run is forgiven what failed there before.
            for node, placed in self._placed.items():
                if now - placed > STALL_SECONDS:
                    self._failures.pop(node, None)
            return ""
        return self._judge(now - self._seen)

    def close(self, seconds: float) -> None:
        """Withdraw the request for machines, and wait at most so long for the shards to end."""
        if not self._local and self._wanted:
            request_resources(bundles=[])
        deadline = time.monotonic() + seconds
        while not all(s.ended.done() for s in self._shards) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _reap(self) -> None:
        """Forget shards that have ended."""
        for shard in [shard for shard in self._shards if shard.ended.done()]:
            self._shards.remove(shard)
            self._queue.lost.remote(shard.name)
            error = shard.ended.exception()
            self._failures[shard.node] += 1 if error else MAX_STARTS
            self._placed.pop(shard.node, None)
            lines = str(error or "").strip().splitlines()
            self._reason = lines[-1] if lines else self._reason

    def _place(self, now: float) -> None:
        """Start shards on machines with room."""
        missing = self._wanted - sum(shard.workers for shard in self._shards)
        if missing <= 0:
            return
        free_orphans()
        for node, workers in spread(missing, self._room(now)).items():
            self._placed[node] = now
            bound = self._config.shard_workers
            for start in range(0, workers, bound):
                self._start(node, min(bound, workers - start))

    def _room(self, now: float) -> dict[str, int]:
        """Return the number of workers that each machine has room for."""
        needs = worker_resources(self._config).items()
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        available = available_resources_per_node()  # type: ignore[no-untyped-call]
        ours = Counter[str]()
        for shard in self._shards:
            ours[shard.node] += shard.workers
        room = {}
        for name, total in ((node["NodeID"], node["Resources"]) for node in nodes):
            usable = self._failures[name] < MAX_STARTS
            if usable and now - self._placed.get(name, 0.0) > SETTLE_SECONDS:
                # What a shard will take is not taken before its workers start.
                free = _fit(needs, available.get(name, {}))
                room[name] = min(free, _fit(needs, total) - ours[name])
        return room

    def _start(self, node: str, workers: int) -> None:
        """Start one shard."""
        self._count += 1
        name = f"{self._title}-shard{self._count}-{uuid.uuid4().hex[:6]}"
        loop = {"queue": self._queue, "shard": name}
        loop |= {"experiment": self._title, "command": self._command}
        resources = worker_resources(self._config)
        most = self._config.max_failures
        if self._local:
            ended: Future[None] = _in_thread(fit, loop, workers, None, resources, most)
        else:
            here = NodeAffinitySchedulingStrategy(node, soft=False)
            task = ray.remote(fit).options(
                num_cpus=0, max_retries=0, scheduling_strategy=here, name=name
            )
            ended = task.remote(loop, workers, node, resources, most).future()
        self._shards.append(_Shard(name, node, workers, ended))

    def _judge(self, silence: float) -> str:
        """Return a note on a cluster without a live worker; raise if none is to be expected."""
        if self._shards and silence <= STALL_SECONDS:
            return ""
        pending = pending_nodes()
        if pending and not self._shards:
            self._seen = time.monotonic()
            return f"waiting for machines; starting: {pending}"
        needs = worker_resources(self._config)
        each = ", ".join(f"{n:g} {name}" for name, n in needs.items())
        has = ray.cluster_resources()  # type: ignore[no-untyped-call]
        small, failed = any(has.get(name, 0) < n for name, n in needs.items()), self._has_failed()
        if silence <= (NO_ROOM_SECONDS if small or failed else STALL_SECONDS):
            return "waiting for room on the cluster"
        if failed:
            raise StalledError(
                f"no worker for {silence:.0f} s: {MAX_STARTS} starts failed on each machine with "
                f"room. Last error: {self._reason.rstrip('.')}. Finished jobs are in the store. "
                "Remove the cause on the machines, then run the same command."
            )
        total = ", ".join(f"{has.get(name, 0):g} {name}" for name in needs)
        reason = f" Last error: {self._reason.rstrip('.')}." if self._reason else ""
        raise StalledError(
            f"no worker for {silence:.0f} s: a worker needs {each}, and the cluster has {total} in "
            f"all, used by others or not.{reason} Finished jobs are in the store. Add machines, "
            "lower cluster.gpus_per_worker, or run the same command when there is room."
        )

    def _has_failed(self) -> bool:
        """Return True if no shard runs, and each machine that was tried has failed too often."""
        tried = self._failures.values()
        return not self._shards and bool(self._reason) and min(tried, default=0) >= MAX_STARTS


def _fit(needs: Iterable[tuple[str, float]], has: Mapping[str, float]) -> int:
    """Return the number of workers for which there are resources."""
    return min(int(has.get(name, 0) / each + 1e-9) for name, each in needs)


def spread(missing: int, room: Mapping[str, int]) -> dict[str, int]:
    """Return the number of workers that each machine gets: as equal as there is room.

    Args:
        missing: workers to place.
        room: number of workers that each machine has room for.
    """
    placed: Counter[str] = Counter()
    while missing > 0 and (free := [node for node in room if placed[node] < room[node]]):
        for node in free[:missing]:
            placed[node] += 1
            missing -= 1
    return dict(placed)


def pending_nodes() -> int:
    """Return the number of machines that an autoscaler is starting."""
    try:
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
    except Exception:
        # A cluster without an autoscaler may not answer.
        return 0
    launches = sum(launch.count for launch in status.pending_launches)
    return launches + len(status.pending_nodes)


def _in_thread(function: Any, *args: Any) -> "Future[None]":
    """Run a function in a daemon thread, which does not keep the process from ending."""
    ended: Future[None] = Future()

    def run() -> None:
        try:
            ended.set_result(function(*args))
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return ended
