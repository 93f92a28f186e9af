"""What is searched: nested spaces of plans, each more general than the one before.

V0: one unlearner, with its hyperparameters, on the whole forget set. V1: the same, on the refined
subsets in order. V4: an unlearner for each subset, each with its own hyperparameters; that is RUM.
A space asks a chooser for one value after another, so which questions come depends on the answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rum_ray.rum import Partition, Plan, Retain, Subset
from rum_ray.training.space import Choice, Domain
from rum_ray.unlearning.base import Unlearner

SpaceName: TypeAlias = Literal["V0", "V1", "V4"]
Choose: TypeAlias = Callable[[str, Domain], Any]
"""Answers a question, by its name and domain, with a value of the domain."""


@dataclass(frozen=True)
class Space:
    """Plans for a forget set.

    Attributes:
        name: "V0", "V1" or "V4".
        unlearners: what may be chosen, by name.
        partition: the refined forget set.
        retain: the plans' retain rule.
    """

    name: SpaceName
    unlearners: Mapping[str, type[Unlearner]]
    partition: Partition
    retain: Retain = "remaining"

    def plan(self, choose: Choose) -> Plan:
        """Return the plan that the chooser's answers make."""
        subsets = whole(self.partition) if self.name == "V0" else self.partition
        if self.name == "V4":
            assignment = {name: self._unlearner(f"{name}.", choose) for name in subsets.names}
        else:
            unlearner = self._unlearner("", choose)
            assignment = dict.fromkeys(subsets.names, unlearner)
        return Plan.assign(subsets, assignment, self.retain)

    def _unlearner(self, prefix: str, choose: Choose) -> Unlearner:
        """Return the unlearner that the answers under a prefix make."""
        name = choose(f"{prefix}unlearner", Choice(tuple(self.unlearners)))
        kind = self.unlearners[name]
        return kind(**{k: choose(f"{prefix}{name}.{k}", v) for k, v in kind.space.items()})


def whole(partition: Partition) -> Partition:
    """Return the forget set unrefined, as one subset called "all"."""
    return Partition((Subset("all", partition.rows),))
