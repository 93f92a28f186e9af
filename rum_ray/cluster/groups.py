"""Placement groups whose owner died.

Ray keeps the placement group of a dead actor until its job ends. Train has an actor that removes
the group of a controller, but that one asks the dashboard, which a local cluster does not have.
Without the room, no other shard and no trial could start.
"""

import ray
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]  # made by Ray's build
from ray.util.placement_group import PlacementGroup, remove_placement_group


def free_orphans() -> None:
    """Remove the placement groups of this job whose creator, an actor, is dead."""
    job = ray.get_runtime_context().get_job_id()
    accessor = ray._private.state.state._connect_and_get_accessor()
    for content in accessor.get_placement_group_table():
        group = PlacementGroupTableData.FromString(content)
        if group.creator_job_id.hex() == job and _is_orphan(group):
            name = ray.PlacementGroupID(group.placement_group_id)
            remove_placement_group(PlacementGroup(name))


def _is_orphan(group: PlacementGroupTableData) -> bool:
    """Return True if the creator of a group was an actor and is dead."""
    # Ray counts the actor of a group that the driver made, which it does not have, as dead.
    of_actor = not ray.ActorID(group.creator_actor_id).is_nil()
    is_there = not group.is_detached and group.state != PlacementGroupTableData.REMOVED
    return of_actor and bool(group.creator_actor_dead) and is_there
