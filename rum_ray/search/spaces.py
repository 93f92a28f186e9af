"""What is searched: nested spaces of plans, one definition with more or less of it left free.

A space asks a chooser for one value after another, so which questions come depends on the answers.
A question has the same domain whenever it comes, as samplers that learn want it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rum_ray.errors import PlanError
from rum_ray.rum import Partition, Plan, Retain, Step, Subset
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice, Domain, Integers, contains, describe, snap_to_grid
from rum_ray.unlearning import Nothing, Unlearner

SpaceName: TypeAlias = Literal["V0", "V1", "V2", "V3", "V4"]
FREE: Mapping[SpaceName, frozenset[str]] = {
    "V0": frozenset({"values"}),
    "V1": frozenset({"subsets", "values"}),
    "V2": frozenset({"subsets", "order", "values"}),
    "V3": frozenset({"subsets", "order", "assignment"}),
    "V4": frozenset({"subsets", "order", "assignment", "values"}),
}
"""What each space leaves free. V0: the "values" of one unlearner, on the whole forget set. V1: the
same on the refined "subsets". V2: and their "order". V3: the "assignment" of an unlearner to each
subset, with default values. V4: that with "values" of its own for each, which is RUM."""

SpaceAlias: TypeAlias = Literal["single", "refined", "ordered", "assigned", "rum"]
ALIASES: Mapping[str, SpaceName] = {
    "single": "V0",
    "refined": "V1",
    "ordered": "V2",
    "assigned": "V3",
    "rum": "V4",
}
"""Names of the spaces in experiment files; keys, digests and reports have V0 to V4."""

SpaceKey: TypeAlias = Literal[SpaceName, SpaceAlias]
"""A space in an experiment file: its number or its name."""

Choose: TypeAlias = Callable[[str, Domain], Any]
"""Answers a question, by its name and domain, with a value of the domain."""


@dataclass(frozen=True)
class Space:
    """Plans for a forget set.

    Attributes:
        name: "V0" to "V4".
        candidates: the unlearners that may be chosen.
        partition: the refined forget set.
        retain: the plans' retain rule.
        ordered: whether the partition's order is the only one.
        steps: unlearners that are fixed, by subset.
        grid: how many values each number of the first step that is searched and does something may
            have, where others follow it; None is any.
    """

    name: SpaceName
    candidates: tuple[Candidate, ...]
    partition: Partition
    retain: Retain = "remaining"
    ordered: bool = False
    steps: Mapping[str, Unlearner] = field(default_factory=dict)
    grid: int | None = None

    def plan(self, choose: Choose) -> Plan:
        """Return the plan that the chooser's answers make."""
        subsets, fixed = self._ordered(choose), self._fixed
        assignment: dict[str, Unlearner] = {}
        for name in subsets.names:
            if name in fixed:
                continue
            if not assignment or self._leaves("assignment"):
                begins = all(isinstance(u, Nothing) for u in assignment.values())
                grid = self.grid if begins and name != subsets.names[-1] else None
                unlearner = self._unlearner(self._prefix(name), grid, choose)
            assignment[name] = unlearner
        return Plan.assign(subsets, {**assignment, **fixed}, self.retain)

    def answers(self, plan: Plan) -> dict[str, Any]:
        """Return the answers that make a plan for the same partition.

        Raises:
            PlanError: the space does not have the plan.
        """
        known: dict[str, Any] = self._places(plan)
        for step in plan.steps:
            if step.subset.name in self._fixed:
                continue
            prefix, unlearner = self._prefix(step.subset.name), step.unlearner
            names = (c.name for c in self.candidates if c.kind is type(unlearner))
            name = next(names, unlearner.name)
            known[f"{prefix}unlearner"] = name
            keys = getattr(unlearner, "space", ())
            known |= {f"{prefix}{name}.{key}": getattr(unlearner, key) for key in keys}
        asked: dict[str, Any] = {}

        def read(question: str, domain: Domain) -> Any:
            asked[question] = value = known[question]
            if not contains(domain, value):
                raise PlanError(f"its {question} is {value}, and may be {describe(domain)}.")
            return value

        made = self.plan(read)
        for there, here in zip(plan.steps, made.steps, strict=False):
            if there != here:
                raise PlanError(_difference(there, here))
        return asked

    def least_cost(self, total: int) -> float:
        """Return a lower bound of what plans cost, in examples passed forward and backward.

        Each step is priced with the retain set of the last one, and each unlearner at the ends of
        its domains. So it is exact for `retain: final` and a cost that rises or falls with each
        value, as all that come with the package do; for "remaining" it is a little too low.

        Args:
            total: number of training examples.
        """
        subsets = self.partition if self._leaves("subsets") else whole(self.partition)
        retained, fixed = total - len(self.partition.rows), self._fixed
        known = sum(fixed[s.name].cost(len(s), retained) for s in subsets if s.name in fixed)
        sizes = [len(s) for s in subsets if s.name not in fixed]
        unlearners = [u for c in self.candidates for u in self._cheapest(c)]
        priced = [[u.cost(size, retained) for size in sizes] for u in unlearners]
        each = map(min, zip(*priced, strict=True))
        return known + (sum(each) if self._leaves("assignment") else min(map(sum, priced)))

    def _leaves(self, part: str) -> bool:
        """Return whether a part of plans is free."""
        return part in FREE[self.name]

    @property
    def _fixed(self) -> Mapping[str, Unlearner]:
        """The steps that are fixed; the whole forget set has none."""
        return self.steps if self._leaves("subsets") else {}

    def _prefix(self, subset: str) -> str:
        """Return what the names of questions on a subset's unlearner begin with."""
        return f"{subset}." if self._leaves("assignment") else ""

    def _ordered(self, choose: Choose) -> Partition:
        """Return the subsets in the order of the answers: each takes a place among those before it.

        So there is one set of answers for each order of any number of subsets. Domains are
        constant, neighbouring places make neighbouring orders, and an answer means the same
        whatever the others are: "medium" comes before "low" wherever "high" goes.
        """
        if not self._leaves("subsets"):
            return whole(self.partition)
        if self.ordered or not self._leaves("order"):
            return self.partition
        first, *others = self.partition.names
        order = [first]
        for name in others:
            order.insert(choose(f"{name}.place", Integers(1, len(order) + 1)) - 1, name)
        return self.partition.ordered(order)

    def _places(self, plan: Plan) -> dict[str, int]:
        """Return the answers that make a plan's order."""
        turn = {step.subset.name: number for number, step in enumerate(plan.steps)}
        names = [name for name in self.partition.names if name in turn]
        return {
            f"{name}.place": 1 + sum(turn[other] < turn[name] for other in names[:number])
            for number, name in enumerate(names)
        }

    def _unlearner(self, prefix: str, grid: int | None, choose: Choose) -> Unlearner:
        """Return the unlearner that the answers under a prefix make."""
        name = choose(f"{prefix}unlearner", Choice(tuple(c.name for c in self.candidates)))
        (candidate,) = (c for c in self.candidates if c.name == name)
        domains, values = candidate.domains, candidate.defaults
        if self._leaves("values"):
            values = {k: choose(f"{prefix}{name}.{k}", v) for k, v in domains.items()}
        if grid is not None:
            values = {k: snap_to_grid(domains[k], v, grid) for k, v in values.items()}
        return candidate.unlearner(values)

    def _cheapest(self, candidate: Candidate) -> list[Unlearner]:
        """Return the unlearners of which one costs no more than any other in the space."""
        at_ends = self._leaves("values") or self.grid is not None
        found = candidate.corners() if at_ends else [candidate.defaults]
        return [candidate.unlearner(values) for values in found]


def whole(partition: Partition) -> Partition:
    """Return the forget set unrefined, as one subset called "all"."""
    return Partition((Subset("all", partition.rows),))


def _difference(there: Step, here: Step) -> str:
    """Return how a plan's step differs from the nearest that a space has."""
    name = there.subset.name
    if name != here.subset.name:
        return f"it unlearns '{name}' where the space unlearns '{here.subset.name}'."
    one, other = there.unlearner, here.unlearner
    if type(one) is not type(other):
        return f"it gives '{name}' {one.name}, and the space {other.name}."
    values = dataclasses.asdict(one), dataclasses.asdict(other)  # type: ignore[call-overload]
    key = next(key for key in values[0] if values[0][key] != values[1][key])
    return f"it gives '{name}' {key} = {values[0][key]}, and the space {values[1][key]}."
