"""RUM: refine a forget set, assign an unlearner to each subset, and unlearn them in order.

Zhao, Kurmanji, Barbulescu, Triantafillou and Triantafillou, "What makes unlearning hard and what
to do about it", NeurIPS 2024, https://arxiv.org/abs/2406.01257, section 5.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from torch import nn

from rum_ray.data.bundle import Indices, LabeledData, complement
from rum_ray.errors import PlanError, did_you_mean
from rum_ray.partition import JOINT, Partition, Subset, regroup
from rum_ray.training.prediction import check_classes
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import Unlearner, UnlearningTask
from rum_ray.unlearning.baselines import Nothing

Retain: TypeAlias = Literal["remaining", "final"]
Assignment: TypeAlias = Mapping[str, Unlearner]
"""Unlearners by subset name."""


@dataclass(frozen=True)
class Step:
    """A subset and the unlearner that forgets it."""

    subset: Subset
    unlearner: Unlearner

    @property
    def idle(self) -> bool:
        """True if the step leaves the model unchanged."""
        return isinstance(self.unlearner, Nothing)


@dataclass(frozen=True)
class Plan:
    """Unlearning steps, in order.

    Attributes:
        steps: at least one.
        retain: retain set of a step. "remaining": all examples except those of this step and
            earlier ones, so later subsets still count as retain data (the paper's code). "final":
            all examples outside the whole forget set.

    Raises:
        PlanError: there is no step, the subsets of two steps overlap, or `retain` is unknown.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> low, high = rr.Subset("low", np.array([0, 1])), rr.Subset("high", np.array([5]))
        >>> assignment = {"low": rr.Nothing(), "high": rr.FineTune(epochs=2)}
        >>> plan = rr.Plan.assign(rr.Partition((low, high)), assignment)
        >>> plan.retain_rows(step=0, total=6)
        array([2, 3, 4, 5])
        >>> plan.cost(total=6)
        6.0
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
        """Return the plan with these unlearners, in the order of the partition.

        Subsets that share a step have one entry, such as "low+high"; "all" is one step for all
        subsets. With such an entry, the steps are in the order of `assignment`.

        Raises:
            PlanError: a subset has no unlearner, an unlearner has no subset, or a value is no
                unlearner.
        """
        unknown = [name for name in assignment if name not in partition.names]
        if [*assignment] == ["all"] or any(JOINT in name for name in unknown):
            partition = regroup(partition, [*assignment])
            assignment = dict(zip(partition.names, assignment.values(), strict=True))
        for name in assignment:
            if name not in partition.names:
                hint = did_you_mean(name, partition.names)
                raise PlanError(f"the plan names subset '{name}', which does not exist. {hint}")
        missing = [name for name in partition.names if name not in assignment]
        if missing:
            raise PlanError(
                f"the plan has no unlearner for subset '{missing[0]}'. "
                f"Each of {', '.join(partition.names)} needs one; 'nothing' is allowed."
            )
        for name, unlearner in assignment.items():
            if isinstance(unlearner, type) or not callable(unlearner):
                raise PlanError(
                    f"subset '{name}': {unlearner!r} is no unlearner. "
                    "Give an instance, such as FineTune()."
                )
        return cls(tuple(Step(s, assignment[s.name]) for s in partition), retain)

    @property
    def partition(self) -> Partition:
        """The subsets of the steps, in order."""
        return Partition(tuple(step.subset for step in self.steps))

    def retain_rows(self, step: int, total: int) -> Indices:
        """Return the retain set of a 0-based step, as rows of 0 .. total - 1."""
        return complement(np.concatenate([s.rows for s in self._forgotten(step)]), total)

    def _forgotten(self, step: int) -> list[Subset]:
        """Return the subsets outside the retain set of a 0-based step."""
        last = len(self.steps) if self.retain == "final" else step + 1
        return [s.subset for s in self.steps[:last]]

    def cost(self, total: int) -> float:
        """Return the examples passed forward and backward; a forward pass alone counts a third.

        Args:
            total: number of training examples.
        """
        return sum(self.step_cost(index, total) for index in range(len(self.steps)))

    def step_cost(self, index: int, total: int) -> float:
        """Return the cost of a 0-based step, as in `cost`."""
        step, forgotten = self.steps[index], sum(map(len, self._forgotten(index)))
        return step.unlearner.cost(len(step.subset), total - forgotten)


def unlearn(
    model: nn.Module,
    plan: Plan,
    train: LabeledData,
    runtime: Runtime,
    recipe: Recipe | None = None,
) -> nn.Module:
    """Return the unlearned model: a new model, in eval mode, after all steps of a plan.

    Args:
        model: the original; it is unchanged.
        plan: subsets to forget and their unlearners, in order.
        train: training set of the original.
        runtime: device and seed; each step has a seed of its own, derived from this one.
        recipe: recipe of the original; steps use its augmentation and precision.

    Raises:
        PlanError: a row is outside the training set, or a retain set is empty.
        DataError: the model and the data differ in the number of classes.
        DivergedError: a loss or a weight of a step is not finite.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> train, runtime = rr.load("digits").train, rr.LocalRuntime(rr.Seed(0))
        >>> original = rr.Recipe("mlp", epochs=1).fit(train, runtime / "original")
        >>> partition = rr.Partition((rr.Subset("all", np.arange(30)),))
        >>> plan = rr.Plan.assign(partition, {"all": rr.FineTune(epochs=1)})
        >>> unlearned = rr.unlearn(original, plan, train, runtime / "plan")
        >>> unlearned is original, unlearned.training
        (False, False)
    """
    rows = plan.partition.rows
    if rows[0] < 0 or rows[-1] >= len(train):
        raise PlanError(
            f"the plan forgets rows {rows[0]} .. {rows[-1]}; the rows of the training set are "
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
    """Return the model after a 0-based step, or the input model itself if the step is idle.

    `model` is the model before this step, and `original` the model before the first step. The other
    arguments are those of `unlearn`.
    """
    step = plan.steps[index]
    if step.idle:
        return model
    forget, retain = step.subset.rows, plan.retain_rows(index, len(train))
    known = step.subset.shift
    shift = None if known is None else known[np.concatenate([forget, retain])]
    task = UnlearningTask(train.take(forget), train.take(retain), original, recipe, shift)
    unlearned = step.unlearner(model, task, runtime / f"step{index}")
    if not isinstance(unlearned, nn.Module):
        raise PlanError(
            f"subset '{step.subset.name}': {type(step.unlearner).__name__} must return a model, "
            f"but it returned {type(unlearned).__name__}."
        )
    return unlearned
