"""Partitions of a forget set: named, disjoint subsets in the order of unlearning."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.data.rows import checked_rows
from rum_ray.digest import SPARSE
from rum_ray.errors import PlanError

WHOLE_SETS = frozenset({"all", "forget", "retain", "test"})
"""Reserved names, which no subset may have: the evaluated sets, and the unrefined forget set."""
JOINT = "+"
"""Joins the names of subsets that share a step."""


@dataclass(frozen=True, eq=False)
class Subset:
    """A named part of the forget set.

    Attributes:
        name: name of the subset, such as "low".
        rows: rows of the training set, int64, sorted and unique.
        shift: [N] float32, predicted change of the output on each training example if the subset is
            left out of the training, as a logit of the label's probability; None if unknown. It has
            no part in equality.

    Raises:
        PlanError: there are no rows, or they are not sorted and unique.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> subset = rr.Subset("low", np.array([3, 5, 8]))
        >>> len(subset)
        3
    """

    name: str
    rows: Indices
    shift: NDArray[np.float32] | None = field(default=None, metadata=SPARSE, repr=False)

    def __post_init__(self) -> None:
        rows = checked_rows(self.rows, what=f"the rows of subset '{self.name}'", error=PlanError)
        if not len(rows):
            raise PlanError(f"subset '{self.name}' is empty; a subset needs at least one example.")
        if np.any(np.diff(rows) <= 0):
            raise PlanError(f"the rows of subset '{self.name}' must be sorted and unique.")
        object.__setattr__(self, "rows", rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Subset):
            return NotImplemented
        return self.name == other.name and np.array_equal(self.rows, other.rows)

    def __hash__(self) -> int:
        return hash((self.name, self.rows.tobytes()))


@dataclass(frozen=True)
class Partition:
    """Disjoint subsets, **in the order of unlearning**.

    Raises:
        PlanError: there is no subset, subsets overlap, or two have the same name.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> low, high = rr.Subset("low", np.array([5, 8])), rr.Subset("high", np.array([3]))
        >>> partition = rr.Partition((low, high))
        >>> partition.names, partition.reversed().names
        (('low', 'high'), ('high', 'low'))
    """

    subsets: tuple[Subset, ...]

    def __post_init__(self) -> None:
        if not self.subsets:
            raise PlanError("a partition needs at least one subset.")
        names = [subset.name for subset in self.subsets]
        if len(set(names)) < len(names):
            raise PlanError(f"two subsets have the same name; the names are {', '.join(names)}.")
        rows = self.rows
        if np.any(rows[1:] == rows[:-1]):
            raise PlanError("subsets overlap; each example may be in one subset only.")

    def __iter__(self) -> Iterator[Subset]:
        return iter(self.subsets)

    def __len__(self) -> int:
        return len(self.subsets)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the subsets, in order."""
        return tuple(subset.name for subset in self.subsets)

    @property
    def rows(self) -> Indices:
        """Rows of the whole forget set, sorted."""
        return _merged([subset.rows for subset in self.subsets])

    def ordered(self, names: Sequence[str]) -> "Partition":
        """Return the same subsets, in the order of `names`.

        Raises:
            PlanError: `names` does not hold each name of a subset once.
        """
        if sorted(names) != sorted(self.names):
            raise PlanError(
                f"an order must hold each of {', '.join(self.names)} once; got {', '.join(names)}."
            )
        subset_of = dict(zip(self.names, self.subsets, strict=True))
        return Partition(tuple(subset_of[name] for name in names))

    def reversed(self) -> "Partition":
        """Return the same subsets in reverse order."""
        return Partition(self.subsets[::-1])


def members(name: str, subsets: Sequence[str]) -> list[str]:
    """Return the names of the subsets that the name of a step stands for; "all" is each of them."""
    if name in subsets:
        return [name]
    return [*subsets] if name == "all" else name.split(JOINT)


def whole(partition: Partition) -> Partition:
    """Return the unrefined forget set, as one subset with the name "all"."""
    return Partition((_joined("all", partition.subsets),))


def _joined(name: str, subsets: Sequence[Subset]) -> Subset:
    """Return one subset for several; their shifts add up, as those of a linear model do."""
    rows = _merged([subset.rows for subset in subsets])
    shifts = [subset.shift for subset in subsets if subset.shift is not None]
    known = len(shifts) == len(subsets)
    return Subset(name, rows, np.sum(shifts, axis=0) if known else None)


def regroup(partition: Partition, names: Sequence[str]) -> Partition:
    """Return the sets that the steps of a plan forget, in this order.

    Args:
        partition: the subsets of the forget set.
        names: each a subset; several subsets, joined by "+"; or "all".

    Raises:
        PlanError: the names do not hold each subset once.

    Example:
        >>> import numpy as np
        >>> from rum_ray.partition import Partition, Subset, regroup
        >>> low, high = Subset("low", np.array([5, 8])), Subset("high", np.array([3]))
        >>> regroup(Partition((low, high)), ["high+low"]).subsets[0].rows
        array([3, 5, 8])
    """
    if [*names] == ["all"]:
        return whole(partition)
    named = {subset.name: subset for subset in partition}
    groups = [members(name, partition.names) for name in names]
    if sorted(itertools.chain(*groups)) != sorted(named):
        raise PlanError(
            f"the steps of a plan must hold each of {', '.join(named)} once, alone or joined by "
            f"'{JOINT}'; got {', '.join(names)}."
        )
    subsets = []
    for group in groups:
        name = JOINT.join(sorted(group, key=partition.names.index))
        subsets.append(_joined(name, [named[each] for each in group]))
    return Partition(tuple(subsets))


def _merged(parts: Sequence[Indices]) -> Indices:
    """Return the rows of sorted parts, sorted."""
    # A stable sort merges sorted parts, in linear time; a search builds thousands of plans.
    return np.sort(np.concatenate(parts), kind="stable")
