"""RUM: refine a forget set, give each subset its unlearner, unlearn one after another.

Zhao, Kurmanji, Barbulescu, Triantafillou and Triantafillou, "What makes unlearning hard and what
to do about it", NeurIPS 2024, https://arxiv.org/abs/2406.01257, section 5.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from torch import nn

from rum_ray.data.bundle import Indices, LabeledData, complement
from rum_ray.data.rows import checked_rows
from rum_ray.errors import PlanError, did_you_mean
from rum_ray.training.prediction import check_classes
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import Unlearner, UnlearningTask
from rum_ray.unlearning.baselines import Nothing

WHOLE_SETS = frozenset({"all", "forget", "retain", "test"})
"""Names that no subset may have: of sets that have metrics, and of the forget set unrefined."""
Retain: TypeAlias = Literal["remaining", "final"]
Assignment: TypeAlias = Mapping[str, Unlearner]
"""Subset name -> unlearner."""


@dataclass(frozen=True, eq=False)
class Subset:
    """A named part of the forget set.

    Attributes:
        name: such as "low".
        rows: of the training set, sorted and unique.
    """

    name: str
    rows: Indices

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
    """Disjoint subsets, **in the order in which they are unlearned**."""

    subsets: tuple[Subset, ...]

    def __post_init__(self) -> None:
        if not self.subsets:
            raise PlanError("a partition needs at least one subset.")
        names = [subset.name for subset in self.subsets]
        if len(set(names)) < len(names):
            raise PlanError(f"two subsets have the same name; the names are {', '.join(names)}.")
        total = sum(map(len, self.subsets))
        if len(np.unique(np.concatenate([s.rows for s in self.subsets]))) < total:
            raise PlanError("subsets overlap; an example can be forgotten only once.")

    def __iter__(self) -> Iterator[Subset]:
        return iter(self.subsets)

    def __len__(self) -> int:
        return len(self.subsets)

    @property
    def names(self) -> tuple[str, ...]:
        """The subsets' names, in order."""
        return tuple(subset.name for subset in self.subsets)

    @property
    def rows(self) -> Indices:
        """The whole forget set, sorted."""
        return np.sort(np.concatenate([subset.rows for subset in self.subsets]))

    def ordered(self, names: Sequence[str]) -> "Partition":
        """Return the same subsets, to be unlearned in the order of `names`.

        Raises:
            PlanError: `names` are not those of the subsets, each once.
        """
        if sorted(names) != sorted(self.names):
            raise PlanError(
                f"an order names each of {', '.join(self.names)} once; got {', '.join(names)}."
            )
        subset_of = dict(zip(self.names, self.subsets, strict=True))
        return Partition(tuple(subset_of[name] for name in names))

    def reversed(self) -> "Partition":
        """Return the same subsets in the opposite order."""
        return Partition(self.subsets[::-1])


@dataclass(frozen=True)
class Step:
    """A subset and what unlearns it."""

    subset: Subset
    unlearner: Unlearner

    @property
    def idle(self) -> bool:
        """Whether it leaves the model as it is."""
        return isinstance(self.unlearner, Nothing)


@dataclass(frozen=True)
class Plan:
    """Steps, in order.

    Attributes:
        steps: at least one.
        retain: what counts as retain set at a step. "remaining": all that no step so far was asked
            to forget, so subsets whose turn has not come are still learned from (the paper's code);
            "final": all outside the whole forget set.
    """

    steps: tuple[Step, ...]
    retain: Retain = "remaining"

    def __post_init__(self) -> None:
        if not self.steps:
            raise PlanError("a plan needs at least one step.")
        if self.retain not in ("remaining", "final"):
            raise PlanError(f"retain must be 'remaining' or 'final', got '{self.retain}'.")
        Partition(tuple(step.subset for step in self.steps))

    @classmethod
    def assign(
        cls, partition: Partition, assignment: Assignment, retain: Retain = "remaining"
    ) -> "Plan":
        """Return the plan that gives each subset its unlearner, in the partition's order.

        Raises:
            PlanError: a subset has no unlearner, an unlearner no subset, or it is none.
        """
        for name in assignment:
            if name not in partition.names:
                known = did_you_mean(name, partition.names)
                raise PlanError(f"the plan names subset '{name}', which does not exist. {known}")
        missing = [name for name in partition.names if name not in assignment]
        if missing:
            raise PlanError(
                f"the plan gives no unlearner to subset '{missing[0]}'. "
                f"Each of {', '.join(partition.names)} needs one; 'nothing' is one."
            )
        for name, unlearner in assignment.items():
            if isinstance(unlearner, type) or not callable(unlearner):
                raise PlanError(
                    f"subset '{name}' is given {unlearner!r}, which is no unlearner. "
                    "Give a value, such as FineTune()."
                )
        return cls(tuple(Step(s, assignment[s.name]) for s in partition), retain)

    @property
    def partition(self) -> Partition:
        """The subsets, in order."""
        return Partition(tuple(step.subset for step in self.steps))

    def retain_rows(self, step: int, total: int) -> Indices:
        """Return the rows of 0 .. total - 1 that are retain data at a 0-based step."""
        last = len(self.steps) if self.retain == "final" else step + 1
        forgotten = np.concatenate([s.subset.rows for s in self.steps[:last]])
        return complement(forgotten, total)

    def cost(self, total: int) -> float:
        """Return the examples passed forward and backward; forward-only ones count a third.

        `total` is the number of training examples.
        """
        return sum(self.step_cost(index, total) for index in range(len(self.steps)))

    def step_cost(self, index: int, total: int) -> float:
        """Return what a 0-based step costs, as in `cost`."""
        step = self.steps[index]
        return step.unlearner.cost(len(step.subset), len(self.retain_rows(index, total)))


def unlearn(
    model: nn.Module,
    plan: Plan,
    train: LabeledData,
    runtime: Runtime,
    recipe: Recipe | None = None,
) -> nn.Module:
    """Return a new model that has forgotten the plan's subsets, in order.

    Args:
        model: the original; it stays as it is.
        plan: what to forget, and how.
        train: what the original learned.
        runtime: each step gets a part of it.
        recipe: how the original was trained; steps follow its augmentation and precision.

    Raises:
        PlanError: a row is outside the training set, or nothing would be retained.
        DataError: the model has another number of classes.
        DivergedError: a step did not end in finite weights.
    """
    rows = plan.partition.rows
    if rows[0] < 0 or rows[-1] >= len(train):
        raise PlanError(
            f"the plan forgets rows {rows[0]} .. {rows[-1]}, but the training set has rows "
            f"0 .. {len(train) - 1}."
        )
    check_classes(model, train)
    unlearned = model
    for index in range(len(plan.steps)):
        unlearned = take_step(plan, index, unlearned, model, train, runtime, recipe)
    return copy.deepcopy(unlearned).to(runtime.device).eval()


def take_step(
    plan: Plan,
    index: int,
    model: nn.Module,
    original: nn.Module,
    train: LabeledData,
    runtime: Runtime,
    recipe: Recipe | None = None,
) -> nn.Module:
    """Return what a step (0-based) makes of the model before it; that model, if the step is idle.

    `original` is the model before the first step; all else is as in `unlearn`.
    """
    step = plan.steps[index]
    if step.idle:
        return model
    retain = train.take(plan.retain_rows(index, len(train)))
    task = UnlearningTask(train.take(step.subset.rows), retain, original, recipe)
    return step.unlearner(model, task, runtime / f"step{index}")
