"""Placement groups: only those of dead actors are removed."""

import time

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table

from rum_ray.cluster.groups import free_orphans

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(r"ignore:::ray\..*"),
    pytest.mark.usefixtures("ray_here"),
]
SMALL = [{"CPU": 0.001}]


class Owner:
    """An actor with a placement group."""

    def make(self) -> str:
        group = placement_group(SMALL)
        ray.get(group.ready())
        return group.id.hex()


def test_only_the_groups_of_dead_actors_are_removed():
    ours = placement_group(SMALL)
    ray.get(ours.ready())
    owners = [ray.remote(Owner).options(num_cpus=0).remote() for _ in range(2)]
    dead, alive = ray.get([owner.make.remote() for owner in owners])
    ray.kill(owners[0])

    def state(group: str) -> str:
        return placement_group_table()[group]["state"]

    # Ray learns of the death a moment later.
    for _ in range(600):
        free_orphans()
        if state(dead) == "REMOVED":
            break
        time.sleep(0.1)
    assert {g: state(g) for g in (ours.id.hex(), dead, alive)} == {
        ours.id.hex(): "CREATED",
        dead: "REMOVED",
        alive: "CREATED",
    }
    free_orphans()
    assert state(ours.id.hex()) == state(alive) == "CREATED"
