"""The plan `auto`: a plan without a search, learned from trials of other studies.

`auto.json` is written by experiments/auto.py; docs/howto/auto.md says on what it was learned.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner, find_unlearner

SUBSETS = ("low", "medium", "high")
"""The subsets that the plan is for, by ascending difficulty."""


@dataclass(frozen=True)
class RelativeStep:
    """A step of a plan for any recipe.

    Attributes:
        subset: the subset to forget; "+" joins several.
        unlearner: name of the unlearner.
        lr: learning rate, as a multiple of the recipe's; None if the unlearner has none.
        epochs: epochs, as a share of the recipe's; None if the unlearner has none.
        values: the other hyperparameters.
    """

    subset: str
    unlearner: str
    lr: float | None = None
    epochs: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    def at(self, recipe: Recipe) -> Unlearner:
        """Return the unlearner for a recipe; it has at least one epoch."""
        values = dict(self.values)
        if self.lr is not None:
            values["lr"] = self.lr * recipe.lr
        if self.epochs is not None:
            values["epochs"] = max(1, round(self.epochs * recipe.epochs))
        made: Unlearner = find_unlearner(self.unlearner)(**values)
        return made


@cache
def relative_plan() -> tuple[RelativeStep, ...]:
    """Return the steps of `auto`, in the order of unlearning."""
    text = resources.files(__package__).joinpath("auto.json").read_text("utf-8")
    return tuple(RelativeStep(**step) for step in json.loads(text)["steps"])


def auto_plan(recipe: Recipe) -> dict[str, Unlearner]:
    """Return the plan `auto` for a recipe: unlearners by subset, in the order of unlearning.

    The subsets are thirds of the forget set by difficulty, named as in `SUBSETS`.

    Args:
        recipe: the training of the original model.

    Example:
        >>> from rum_ray.search.auto import auto_plan
        >>> from rum_ray.training import Recipe
        >>> plan = auto_plan(Recipe("small_cnn", epochs=20))
        >>> sorted(name for step in plan for name in step.split("+"))
        ['high', 'low', 'medium']
    """
    return {step.subset: step.at(recipe) for step in relative_plan()}
