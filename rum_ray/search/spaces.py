"""Nested search spaces of plans: one definition, with more or fewer free parts.

A space asks a chooser for one value at a time (define-by-run), so later questions depend on earlier
answers. The domain of a question is constant, as learning samplers require.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from rum_ray.errors import PlanError
from rum_ray.partition import JOINT, Partition, Subset, regroup, whole
from rum_ray.rum import Plan, Retain, Step
from rum_ray.search.candidates import Candidate
from rum_ray.seeding import Seed
from rum_ray.training.domains import (
    Cell,
    Choice,
    Domain,
    Integers,
    LogUniform,
    Uniform,
    at_share,
    contains,
    describe,
    snap_to_grid,
)
from rum_ray.unlearning import Nothing, Unlearner

SpaceName: TypeAlias = Literal["V0", "V1", "V2", "V3", "V4", "V5"]
FREE: Mapping[SpaceName, frozenset[str]] = {
    "V0": frozenset({"values"}),
    "V1": frozenset({"subsets", "values"}),
    "V2": frozenset({"subsets", "order", "values"}),
    "V3": frozenset({"subsets", "order", "assignment"}),
    "V4": frozenset({"subsets", "order", "assignment", "values"}),
    "V5": frozenset({"subsets", "order", "assignment", "values", "steps"}),
}
"""Free parts of each space. V0: the "values" of one unlearner, on the whole forget set. V1: the
same, on the refined "subsets". V2: V1 and the "order" of the subsets. V3: the "assignment" of one
unlearner per subset, with default values. V4: V3 with the "values" of each, which is RUM. V5: V4,
and the "steps": neighbouring subsets may share a step. V5 contains all other spaces."""

SpaceAlias: TypeAlias = Literal["single", "refined", "ordered", "assigned", "rum", "joined"]
ALIASES: Mapping[str, SpaceName] = {
    "single": "V0",
    "refined": "V1",
    "ordered": "V2",
    "assigned": "V3",
    "rum": "V4",
    "joined": "V5",
}
"""Names of the spaces in experiment files; keys, digests and reports have V0 to V5."""

SpaceKey: TypeAlias = Literal[SpaceName, SpaceAlias]
"""A space in an experiment file: its number or its name."""

Choose: TypeAlias = Callable[[str, Domain], Any]
"""A chooser: takes the name and domain of a question, and returns a value of the domain."""


@dataclass(frozen=True)
class Space:
    """A search space of plans for one forget set.

    Attributes:
        name: "V0" to "V5".
        candidates: the unlearners to choose from.
        partition: the refined forget set.
        retain: retain rule of the plans.
        ordered: True if the order of the partition is fixed.
        steps: fixed unlearners, by subset.
        grid: grid size for numeric hyperparameters of the first searched step that is active, if
            another step follows; None is continuous.
    """

    name: SpaceName
    candidates: tuple[Candidate, ...]
    partition: Partition
    retain: Retain = "remaining"
    ordered: bool = False
    steps: Mapping[str, Unlearner] = field(default_factory=dict)
    grid: int | None = None

    def plan(self, choose: Choose) -> Plan:
        """Return the plan for the chooser's answers."""
        groups, fixed = self._groups(self._ordered(choose), choose), self._fixed
        subsets = self._sets(groups)
        assignment: dict[str, Unlearner] = {}
        for name, group in zip(subsets.names, groups, strict=True):
            if name in fixed:
                continue
            if not assignment or self._is_free("assignment"):
                first = all(isinstance(u, Nothing) for u in assignment.values())
                grid = self.grid if first and name != subsets.names[-1] else None
                unlearner = self._unlearner(self._prefix(group), grid, choose)
            assignment[name] = unlearner
        return Plan.assign(subsets, {**assignment, **fixed}, self.retain)

    def answers(self, plan: Plan) -> dict[str, Any]:
        """Return the answers that lead to a plan for the same partition.

        Raises:
            PlanError: the plan is not in the space.
        """
        groups = [self._members(step.subset) for step in plan.steps]
        known: dict[str, Any] = self._order_answers(groups)
        for group in groups:
            joins = ("own", *["before"] * (len(group) - 1))
            known |= {f"{name}.joins": answer for name, answer in zip(group, joins, strict=True)}
        for step, group in zip(plan.steps, groups, strict=True):
            if step.subset.name in self._fixed:
                continue
            prefix, unlearner = self._prefix(group), step.unlearner
            names = (c.name for c in self.candidates if c.kind is type(unlearner))
            name = next(names, unlearner.name)
            known[f"{prefix}unlearner"] = name
            keys = getattr(unlearner, "space", ())
            known |= {f"{prefix}{name}.{key}": getattr(unlearner, key) for key in keys}
        answers: dict[str, Any] = {}

        def replay(question: str, domain: Domain) -> Any:
            if question not in known:
                raise PlanError(f"it does not answer {question}.")
            answers[question] = value = known[question]
            if not contains(domain, value):
                raise PlanError(f"its {question} is {value}, and may be {describe(domain)}.")
            return value

        replayed = self.plan(replay)
        for step, nearest in zip(plan.steps, replayed.steps, strict=False):
            if step != nearest:
                raise PlanError(_difference(step, nearest))
        return answers

    def find(self, plan: Plan) -> dict[str, Any] | None:
        """Return the answers that lead to a plan; None if it is not in the space."""
        try:
            return self.answers(plan)
        except PlanError:
            return None

    def draw(self, seed: Seed, cell: Cell | None = None) -> tuple[dict[str, Any], Plan]:
        """Return random answers and their plan; each question has a draw of its own.

        Args:
            seed: root of the draws.
            cell: the part of each continuous range to draw from; None is the whole range.
        """
        answers: dict[str, Any] = {}

        def choose(name: str, domain: Domain) -> Any:
            share = float((seed / name).uniform(1)[0])
            if cell and isinstance(domain, Uniform | LogUniform):
                share = cell.share(name, share)
            answers[name] = at_share(domain, share)
            return answers[name]

        plan = self.plan(choose)
        return answers, plan

    def least_cost(self, total: int) -> float:
        """Return a lower bound of the cost of all plans, in examples passed forward and backward.

        Each step is priced with the retain set of the last step, and each unlearner at the bounds
        of its domains. The bound is exact for `retain: final` and costs that are monotonic in each
        value, as those of this package are. For "remaining" it is slightly too low.

        Args:
            total: number of training examples.
        """
        subsets = self.partition if self._is_free("subsets") else whole(self.partition)
        retained, fixed = total - len(self.partition.rows), self._fixed
        known = sum(fixed[s.name].cost(len(s), retained) for s in subsets if s.name in fixed)
        sizes = [len(s) for s in subsets if s.name not in fixed]
        unlearners = [u for c in self.candidates for u in self._cheapest(c)]
        priced = [[u.cost(size, retained) for size in sizes] for u in unlearners]
        each = map(min, zip(*priced, strict=True))
        found = [sum(each) if self._is_free("assignment") else min(map(sum, priced))]
        if self._is_free("steps") and sizes:
            found.append(min(u.cost(sum(sizes), retained) for u in unlearners))
        return known + min(found)

    def _is_free(self, part: str) -> bool:
        """Return True if a part of plans is free in this space."""
        return part in FREE[self.name]

    @property
    def _fixed(self) -> Mapping[str, Unlearner]:
        """The fixed steps; empty if the forget set is not refined."""
        return self.steps if self._is_free("subsets") else {}

    def _prefix(self, group: Sequence[str]) -> str:
        """Return the prefix of the names of questions about a step's unlearner.

        Subsets that share a step are asked about under the name of the first one.
        """
        return f"{group[0]}." if self._is_free("assignment") else ""

    def _groups(self, subsets: Partition, choose: Choose) -> list[tuple[str, ...]]:
        """Return the names of the subsets of each step, in the order of the partition."""
        if not self._is_free("steps"):
            return [(name,) for name in subsets.names]
        groups: list[list[str]] = []
        for name in subsets.names:
            alone = not groups or {name, groups[-1][-1]} & self._fixed.keys()
            if alone or choose(f"{name}.joins", Choice(("own", "before"))) == "own":
                groups.append([name])
            else:
                groups[-1].append(name)
        return [tuple(sorted(group, key=self.partition.names.index)) for group in groups]

    def _sets(self, groups: Sequence[Sequence[str]]) -> Partition:
        """Return the sets that the steps forget; "all" if one step forgets several subsets."""
        if not self._is_free("subsets") or len(groups) == 1 < len(groups[0]):
            return whole(self.partition)
        return regroup(self.partition, [JOINT.join(group) for group in groups])

    def _members(self, subset: Subset) -> tuple[str, ...]:
        """Return the names of the subsets that a step forgets."""
        if subset.name in self.partition.names:
            return (subset.name,)
        rows = subset.rows
        return tuple(s.name for s in self.partition if np.isin(s.rows, rows).all()) or ("all",)

    def _ordered(self, choose: Choose) -> Partition:
        """Return the subsets in the order of the answers: each is inserted among the earlier ones.

        This encodes each order of any number of subsets by exactly one set of answers. Domains are
        constant, and neighbouring positions give neighbouring orders. The meaning of an answer does
        not depend on later ones: "medium" stays before "low" wherever "high" is inserted.
        """
        if not self._is_free("subsets"):
            return whole(self.partition)
        if self.ordered or not self._is_free("order"):
            return self.partition
        first, *others = self.partition.names
        order = [first]
        for name in others:
            order.insert(choose(f"{name}.place", Integers(1, len(order) + 1)) - 1, name)
        return self.partition.ordered(order)

    def _order_answers(self, groups: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Return the answers that lead to the order of the subsets in the steps of a plan."""
        position = {name: index for index, name in enumerate(itertools.chain(*groups))}
        names = [name for name in self.partition.names if name in position]
        return {
            f"{name}.place": 1 + sum(position[other] < position[name] for other in names[:index])
            for index, name in enumerate(names)
        }

    def _unlearner(self, prefix: str, grid: int | None, choose: Choose) -> Unlearner:
        """Return the unlearner for the answers with a prefix."""
        name = choose(f"{prefix}unlearner", Choice(tuple(c.name for c in self.candidates)))
        (candidate,) = (c for c in self.candidates if c.name == name)
        domains, values = candidate.domains, candidate.defaults
        if self._is_free("values"):
            values = {k: choose(f"{prefix}{name}.{k}", v) for k, v in domains.items()}
        if grid is not None:
            values = {k: snap_to_grid(domains[k], v, grid) for k, v in values.items()}
        return candidate.unlearner(values)

    def _cheapest(self, candidate: Candidate) -> list[Unlearner]:
        """Return unlearners that include the cheapest one of a candidate."""
        searched = self._is_free("values") or self.grid is not None
        options = candidate.corners() if searched else [candidate.defaults]
        return [candidate.unlearner(values) for values in options]


def replay(answers: Mapping[str, Any]) -> Choose:
    """Return the chooser that gives these answers, by question."""
    return lambda name, _: answers[name]


def _difference(step: Step, nearest: Step) -> str:
    """Return a sentence on how a plan's step differs from the nearest step of a space."""
    name = step.subset.name
    if name != nearest.subset.name:
        return f"it unlearns '{name}' where the space unlearns '{nearest.subset.name}'."
    one, other = step.unlearner, nearest.unlearner
    if type(one) is not type(other):
        return f"its unlearner of '{name}' is {one.name}, and that of the space is {other.name}."
    values = dataclasses.asdict(one), dataclasses.asdict(other)  # type: ignore[call-overload]
    key = next(key for key in values[0] if values[0][key] != values[1][key])
    return (
        f"the {key} of '{name}' is {values[0][key]} in the plan, and {values[1][key]} in the space."
    )
