"""The two baselines: do nothing, and retrain from scratch."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from rum_ray.errors import PlanError
from rum_ray.training.domains import Domain
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import UnlearningTask, check_task


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Leave the model unchanged, which suffices for examples that are not memorized.

    Formula: theta stays.

    Reference: Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS 2024,
    https://arxiv.org/abs/2406.01257.

    Example:
        >>> import rum_ray as rr
        >>> rr.Nothing().cost(forget=40, retain=90)
        0.0
    """

    name: ClassVar[str] = "nothing"
    title: ClassVar[str] = "nothing"
    space: ClassVar[Mapping[str, Domain]] = {}

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return a copy of the model, in eval mode.

        Raises:
            PlanError: the forget set or the retain set is empty.
        """
        check_task(task, self.name)
        return copy.deepcopy(model).to(runtime.device).eval()

    def cost(self, forget: int, retain: int) -> float:
        """Return 0."""
        del forget, retain
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """Train from scratch on the retain set: exact unlearning, and the gold standard for the rest.

    Formula: CE(R) from fresh weights, with the recipe of the original.

    Reference: Cao and Yang, "Towards making systems forget with machine unlearning", IEEE S&P 2015,
    https://doi.org/10.1109/SP.2015.35, for the goal of a model that equals a retrained one.

    Attributes:
        recipe: training recipe. In an experiment file, null is the experiment's own recipe.

    Example:
        >>> import rum_ray as rr
        >>> rr.Retrain(recipe=rr.Recipe("mlp", epochs=3)).cost(forget=40, retain=90)
        270.0
    """

    name: ClassVar[str] = "retrain"
    title: ClassVar[str] = "retrain"
    space: ClassVar[Mapping[str, Domain]] = {}

    recipe: Recipe | None = None

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return a model trained on the retain set alone, in eval mode.

        Raises:
            PlanError: the forget set or the retain set is empty, or there is no recipe.
            DivergedError: training diverged.
        """
        del model
        check_task(task, self.name)
        return self._recipe().fit(task.retain, runtime)

    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * |R|."""
        del forget
        return float(self._recipe().epochs * retain)

    def _recipe(self) -> Recipe:
        if self.recipe is None:
            raise PlanError("retrain needs the recipe of the original; give it as `recipe`.")
        return self.recipe
