"""Regrouped partitions: laws of the sets that the steps of a plan forget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.errors import PlanError
from rum_ray.partition import JOINT, Partition, Subset, regroup, whole

NAMES = ("low", "medium", "high", "top")


@st.composite
def partitions(draw):
    """One to four subsets, with random rows."""
    count = draw(st.integers(1, len(NAMES)))
    owner = draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=20))
    owner = [*range(count), *owner]
    rows = draw(st.permutations(range(len(owner))))
    return Partition(
        tuple(
            Subset(NAMES[k], np.sort([r for r, o in zip(rows, owner, strict=True) if o == k]))
            for k in range(count)
        )
    )


@st.composite
def groups(draw):
    """A partition, and its names in groups: an ordered set partition."""
    partition = draw(partitions())
    names = draw(st.permutations(partition.names))
    ends = draw(st.lists(st.booleans(), min_size=len(names) - 1, max_size=len(names) - 1))
    found = [[names[0]]]
    for name, end in zip(names[1:], ends, strict=True):
        if end:
            found.append([name])
        else:
            found[-1].append(name)
    return partition, found


@given(groups())
def test_a_group_has_the_rows_of_its_members(case):
    partition, found = case
    rows_of = {subset.name: {*subset.rows.tolist()} for subset in partition}
    made = regroup(partition, [JOINT.join(group) for group in found])
    assert [{*subset.rows.tolist()} for subset in made] == [
        set().union(*(rows_of[name] for name in group)) for group in found
    ]
    assert np.array_equal(made.rows, partition.rows)
    assert all(np.all(np.diff(subset.rows) > 0) for subset in made)


@given(groups())
def test_names_of_groups_do_not_depend_on_the_order_within(case):
    partition, found = case
    names = [JOINT.join(group) for group in found]
    mirrored = [JOINT.join(group[::-1]) for group in found]
    assert regroup(partition, names) == regroup(partition, mirrored)


@given(partitions())
def test_groups_of_one_are_an_order_and_all_is_the_whole(partition):
    backwards = partition.names[::-1]
    assert regroup(partition, backwards) == partition.reversed()
    assert regroup(partition, ["all"]) == whole(partition)
    assert whole(whole(partition)) == whole(partition)


@pytest.mark.parametrize(
    "names",
    [[], ["low"], ["low", "low+high"], ["low+low", "high"], ["low", "high", "x"], ["low+high+"]],
)
def test_names_that_do_not_hold_each_subset_once_are_errors(names):
    partition = Partition((Subset("low", np.array([1])), Subset("high", np.array([2]))))
    with pytest.raises(PlanError):
        regroup(partition, names)


def test_a_name_with_the_joint_is_a_name_first():
    partition = Partition((Subset("a+b", np.array([1])), Subset("c", np.array([2]))))
    assert regroup(partition, ["c", "a+b"]).names == ("c", "a+b")
