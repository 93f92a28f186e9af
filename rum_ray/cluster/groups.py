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
        is_ours = group.creator_job_id.hex() == job and not group.is_detached
        is_left = group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED
        if is_ours and is_left:
            name = ray.PlacementGroupID(group.placement_group_id)
            remove_placement_group(PlacementGroup(name))
