"""Shards on machines that come, fill and go, without Ray: a cluster of this test's own."""

import math
from collections import Counter
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.cluster import shards
from rum_ray.cluster.shards import (
    MAX_STARTS,
    NO_ROOM_SECONDS,
    PLACE_SECONDS,
    SETTLE_SECONDS,
    STALL_SECONDS,
    Shards,
    spread,
)
from rum_ray.cluster.train_run import slice_resources, worker_resources
from rum_ray.errors import StalledError
from rum_ray.experiment import ClusterConfig

SHARES = [0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.9, 1.0]


class TestResources:
    @pytest.mark.parametrize("gpus", SHARES)
    def test_as_many_workers_and_slices_fit_on_a_gpu_as_on_paper(self, gpus):
        """Ray counts in ten-thousandths; a GPU has 10,000 of them."""
        config = ClusterConfig(gpus_per_worker=gpus)
        on_paper = math.floor(1 / gpus + 1e-9)
        worker, piece = (
            round(10_000 * r(config)["GPU"]) for r in (worker_resources, slice_resources)
        )
        assert 10_000 // worker == on_paper
        assert on_paper * (worker + piece) <= 10_000
        # A slice is no zero, for which Ray would give no GPU.
        assert piece >= 1

    def test_a_worker_and_some_slices_fit_on_a_cpu(self):
        config = ClusterConfig()
        assert worker_resources(config).keys() == slice_resources(config).keys() == {"CPU"}
        together = worker_resources(config)["CPU"] + 4 * slice_resources(config)["CPU"]
        assert together == pytest.approx(1)


rooms = st.dictionaries(st.text(max_size=3), st.integers(0, 20), max_size=6)


@given(st.integers(0, 60), rooms)
def test_workers_are_spread_as_equally_as_there_is_room(missing, room):
    placed = spread(missing, room)
    assert sum(placed.values()) == min(missing, sum(room.values()))
    assert all(0 < workers <= room[node] for node, workers in placed.items())
    # A machine has fewer than another by two or more only if it is full.
    for node, free in room.items():
        if placed.get(node, 0) < free:
            assert max(placed.values(), default=0) <= placed.get(node, 0) + 1


class FakeCluster:
    """Machines with CPUs and GPUs, the shards that were started there, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.machines: dict[str, dict[str, float]] = {}
        self.started: list[SimpleNamespace] = []
        self.lost: list[str] = []
        self.requested: list[int] = []
        self.pending = 0

    @property
    def running(self) -> list[SimpleNamespace]:
        return [shard for shard in self.started if not shard.ended.done()]

    def workers(self) -> dict[str, list[int]]:
        """The sizes of the running shards by machine."""
        found: dict[str, list[int]] = {}
        for shard in self.running:
            found.setdefault(shard.node, []).append(shard.workers)
        return found

    def available(self) -> dict[str, dict[str, float]]:
        free = {node: dict(resources) for node, resources in self.machines.items()}
        for shard in self.running:
            for name, each in shard.resources.items():
                if shard.node in free:
                    free[shard.node][name] -= shard.workers * each
        return free

    def total(self) -> dict[str, float]:
        return dict(sum((Counter(machine) for machine in self.machines.values()), Counter()))

    def remote(self, fit: Any) -> SimpleNamespace:
        """Stand for `ray.remote`: a task starts a shard on the machine of its strategy."""

        def options(**options: Any) -> SimpleNamespace:
            assert (options["num_cpus"], options["max_retries"]) == (0, 0)

            def start(loop, workers, node, resources, most) -> SimpleNamespace:
                assert options["scheduling_strategy"] == SimpleNamespace(node_id=node, soft=False)
                ended: Future[None] = Future()
                name = loop["shard"]
                self.started.append(
                    SimpleNamespace(
                        name=name,
                        node=node,
                        workers=workers,
                        resources=resources,
                        ended=ended,
                    )
                )
                return SimpleNamespace(future=lambda: ended)

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)


@pytest.fixture
def cluster(monkeypatch) -> FakeCluster:
    cluster = FakeCluster()

    def sleep(seconds: float) -> None:
        cluster.now += seconds

    clock = SimpleNamespace(monotonic=lambda: cluster.now, sleep=sleep)
    monkeypatch.setattr(shards, "time", clock)
    fake = SimpleNamespace(
        nodes=lambda: [
            *(
                {"NodeID": node, "Alive": True, "Resources": has}
                for node, has in cluster.machines.items()
            ),
            {"NodeID": "long gone", "Alive": False, "Resources": {}},
        ],
        cluster_resources=cluster.total,
        remote=cluster.remote,
    )
    monkeypatch.setattr(shards, "ray", fake)
    monkeypatch.setattr(
        shards,
        "NodeAffinitySchedulingStrategy",
        lambda node, soft: SimpleNamespace(node_id=node, soft=soft),
    )
    monkeypatch.setattr(shards, "available_resources_per_node", cluster.available)
    monkeypatch.setattr(shards, "free_orphans", lambda: None)
    monkeypatch.setattr(shards, "pending_nodes", lambda: cluster.pending)
    monkeypatch.setattr(
        shards, "request_resources", lambda bundles: cluster.requested.append(len(bundles))
    )
    return cluster


@pytest.fixture
def make(cluster):
    """A function that returns the shards of a command with these settings."""

    def make(**settings: Any) -> Shards:
        queue = SimpleNamespace(lost=SimpleNamespace(remote=cluster.lost.append))
        return Shards(queue, "digits", ClusterConfig(**settings), local=False)

    return make


def pass_time(cluster: FakeCluster, mine: Shards, seconds: float, alive: int = 1) -> str:
    """Check every second, as the driver does; return the last note."""
    for _ in range(math.ceil(seconds)):
        cluster.now += 1.0
        note = mine.check(alive)
    return note


class TestPlacement:
    def test_each_machine_gets_workers_in_shards_of_bounded_size(self, cluster, make):
        cluster.machines = {"small": {"CPU": 2.0}, "large": {"CPU": 9.0}, "head": {}}
        mine = make(workers=100, shard_workers=4)
        assert not mine.active
        mine.want(100)
        assert mine.check(0) == ""
        assert mine.active
        assert cluster.workers() == {"small": [2], "large": [4, 4, 1]}
        names = [shard.name for shard in cluster.started]
        assert len({*names}) == 4
        assert all(name.startswith("digits-shard") for name in names)
        # A second look changes nothing.
        assert pass_time(cluster, mine, 3 * SETTLE_SECONDS) == ""
        assert len(cluster.started) == 4

    def test_a_stage_of_few_jobs_starts_few_workers_and_the_next_one_the_rest(self, cluster, make):
        cluster.machines = {"a": {"CPU": 3.0}, "b": {"CPU": 3.0}}
        mine = make(workers=6)
        mine.want(2)
        mine.check(0)
        assert cluster.workers() == {"a": [1], "b": [1]}
        mine.want(1)
        pass_time(cluster, mine, SETTLE_SECONDS + PLACE_SECONDS + 1)
        assert cluster.workers() == {"a": [1], "b": [1]}
        mine.want(6)
        mine.check(2)
        assert {node: sum(sizes) for node, sizes in cluster.workers().items()} == {"a": 3, "b": 3}
        assert cluster.requested == [2, 6]

    def test_a_machine_that_joins_is_used_and_others_are_left_alone(self, cluster, make):
        cluster.machines = {"a": {"CPU": 2.0}}
        mine = make(workers=5)
        mine.want(5)
        mine.check(0)
        before = [*cluster.started]
        cluster.machines["b"] = {"CPU": 2.0}
        pass_time(cluster, mine, PLACE_SECONDS)
        assert cluster.workers() == {"a": [2], "b": [2]}
        assert cluster.started[: len(before)] == before
        assert not any(shard.ended.done() for shard in before)

    def test_room_that_others_use_is_left_to_them(self, cluster, make):
        cluster.machines = {"a": {"CPU": 4.0, "GPU": 1.0}, "b": {"CPU": 0.5, "GPU": 4.0}}
        mine = make(workers=9, gpus_per_worker=0.5)
        mine.want(9)
        mine.check(0)
        # Two share the GPU of one machine; the other has no CPU left.
        assert cluster.workers() == {"a": [2]}

    def test_no_more_workers_are_placed_than_are_wanted(self, cluster, make):
        cluster.machines = {f"m{n}": {"CPU": 64.0} for n in range(3)}
        mine = make(workers=5, shard_workers=2)
        mine.want(5)
        for _ in range(4):
            pass_time(cluster, mine, SETTLE_SECONDS + 1)
        assert sum(shard.workers for shard in cluster.running) == 5
        assert max(shard.workers for shard in cluster.running) <= 2


class TestEnds:
    def test_the_shard_of_a_lost_machine_is_told_and_replaced_elsewhere(self, cluster, make):
        cluster.machines = {"a": {"CPU": 2.0}, "b": {"CPU": 4.0}}
        mine = make(workers=4)
        mine.want(4)
        mine.check(0)
        (gone,) = (shard for shard in cluster.running if shard.node == "a")
        del cluster.machines["a"]
        gone.ended.set_exception(RuntimeError("the node died"))
        mine.check(2)
        assert cluster.lost == [gone.name]
        pass_time(cluster, mine, SETTLE_SECONDS + PLACE_SECONDS + 1)
        assert {node: sum(sizes) for node, sizes in cluster.workers().items()} == {"b": 4}

    def test_a_shard_that_fails_is_started_again_a_bounded_number_of_times(self, cluster, make):
        cluster.machines = {"a": {"CPU": 2.0}}
        mine = make(workers=2)
        mine.want(2)
        for _ in range(10):
            pass_time(cluster, mine, PLACE_SECONDS + 1, alive=0)
            for shard in cluster.running:
                shard.ended.set_exception(RuntimeError("first line\nthe worker did not start"))
        assert len(cluster.started) == MAX_STARTS
        assert cluster.lost == [shard.name for shard in cluster.started]
        # More room would not help, so the wait is short and the advice another.
        with pytest.raises(StalledError, match=r"starts failed.* the worker did not start\. "):
            pass_time(cluster, mine, NO_ROOM_SECONDS + 1, alive=0)
        with pytest.raises(StalledError) as caught:
            mine.check(0)
        assert "Add machines" not in str(caught.value)

    def test_a_machine_whose_workers_all_leave_is_not_tried_again(self, cluster, make):
        cluster.machines = {"a": {"CPU": 2.0}}
        mine = make(workers=2)
        mine.want(2)
        mine.check(0)
        cluster.running[0].ended.set_result(None)
        pass_time(cluster, mine, SETTLE_SECONDS + PLACE_SECONDS + 1, alive=0)
        assert len(cluster.started) == 1
        assert not mine.active

    def test_a_machine_that_fails_is_left_alone_while_another_works(self, cluster, make):
        cluster.machines = {"good": {"CPU": 1.0}, "bad": {"CPU": 1.0}}
        mine = make(workers=2)
        mine.want(2)
        for _ in range(20):
            pass_time(cluster, mine, PLACE_SECONDS + 1)
            for shard in cluster.running:
                if shard.node == "bad":
                    shard.ended.set_exception(RuntimeError("no kernel image"))
        assert Counter(shard.node for shard in cluster.started) == {"good": 1, "bad": MAX_STARTS}

    def test_the_end_waits_for_shards_but_not_for_ever(self, cluster, make):
        cluster.machines = {"a": {"CPU": 2.0}}
        mine = make(workers=2)
        mine.want(2)
        mine.check(0)
        before = cluster.now
        mine.close(5.0)
        assert cluster.now - before == pytest.approx(5.0, abs=0.1)
        assert cluster.requested == [2, 0]
        cluster.running[0].ended.set_result(None)
        before = cluster.now
        mine.close(5.0)
        assert cluster.now == before


class TestJudge:
    def test_a_cluster_that_is_too_small_ends_the_stage_soon(self, cluster, make):
        cluster.machines = {"a": {"CPU": 8.0}}
        mine = make(workers=1, gpus_per_worker=1.0)
        mine.want(1)
        note = pass_time(cluster, mine, NO_ROOM_SECONDS, alive=0)
        assert note == "waiting for room on the cluster"
        with pytest.raises(StalledError, match=r"0\.99 GPU.* 8 CPU, 0 GPU"):
            pass_time(cluster, mine, 2, alive=0)

    def test_a_cluster_that_others_use_is_waited_for_longer(self, cluster, make):
        cluster.machines = {"a": {"CPU": 8.0}}
        cluster.available = lambda: {"a": {"CPU": 0.5}}
        shards.available_resources_per_node = cluster.available
        mine = make(workers=1)
        mine.want(1)
        note = pass_time(cluster, mine, STALL_SECONDS, alive=0)
        assert note == "waiting for room on the cluster"
        with pytest.raises(StalledError):
            pass_time(cluster, mine, 2, alive=0)

    def test_machines_that_are_starting_are_waited_for(self, cluster, make):
        mine = make(workers=8)
        mine.want(8)
        cluster.pending = 2
        note = pass_time(cluster, mine, 10 * STALL_SECONDS, alive=0)
        assert note == "waiting for machines; starting: 2"
        cluster.machines["a"] = {"CPU": 8.0}
        cluster.pending = 0
        assert pass_time(cluster, mine, PLACE_SECONDS, alive=0) == ""
        assert cluster.workers() == {"a": [8]}

    def test_workers_that_start_are_waited_for_and_a_hang_ends_the_stage(self, cluster, make):
        cluster.machines = {"a": {"CPU": 8.0}}
        mine = make(workers=1)
        mine.want(1)
        assert pass_time(cluster, mine, STALL_SECONDS, alive=0) == ""
        with pytest.raises(StalledError):
            pass_time(cluster, mine, 2, alive=0)

    def test_the_silence_begins_when_the_last_worker_is_seen_or_a_stage_begins(self, cluster, make):
        cluster.machines = {"a": {"CPU": 8.0}}
        mine = make(workers=1)
        mine.want(1)
        pass_time(cluster, mine, STALL_SECONDS, alive=0)
        assert pass_time(cluster, mine, 1, alive=1) == ""
        pass_time(cluster, mine, STALL_SECONDS, alive=0)
        mine.want(1)
        pass_time(cluster, mine, STALL_SECONDS, alive=0)


class TestSlowStarts:
    def test_a_machine_whose_workers_are_slow_to_start_gets_no_others(
        self, cluster, make, monkeypatch
    ):
        """Their resources are still free when the machine is looked at again."""
        cluster.machines = {"a": {"CPU": 1.0}, "b": {"CPU": 1.0}}
        mine = make(workers=3)
        mine.want(3)
        mine.check(0)
        free = {node: dict(has) for node, has in cluster.machines.items()}
        monkeypatch.setattr(shards, "available_resources_per_node", lambda: free)
        cluster.now += SETTLE_SECONDS + PLACE_SECONDS
        mine.check(0)
        assert cluster.workers() == {"a": [1], "b": [1]}
