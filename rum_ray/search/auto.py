"""The plan `auto`: a plan without a search, learned from trials of other studies.

There is one for large forget sets and one for small ones, such as weekly requests: a strength that
suits a tenth of D costs a small request more accuracy than it needs. `auto.json` is written by
experiments/auto.py and experiments/auto_weekly.py; docs/howto/auto.md says on what they learned.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner, find_unlearner

SUBSETS = ("low", "medium", "high")
"""The subsets that the plan is for, by ascending difficulty."""
LARGE = 0.1
"""Share of D in the forget sets on which the plan of studies was learned."""


@dataclass(frozen=True)
class RelativeStep:
    """A step of a plan for any recipe.

    Attributes:
        subset: the subset to forget; "+" joins several.
        unlearner: name of the unlearner.
        lr: learning rate, as a multiple of the recipe's; None if the unlearner has none.
        epochs: epochs, as a share of the recipe's; None if the unlearner has none.
        repair: epochs of its repair, likewise.
        values: the other hyperparameters.
    """

    subset: str
    unlearner: str
    lr: float | None = None
    epochs: float | None = None
    repair: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    def at(self, recipe: Recipe) -> Unlearner:
        """Return the unlearner for a recipe; what takes epochs takes at least one."""
        values = dict(self.values)
        if self.lr is not None:
            values["lr"] = self.lr * recipe.lr
        for name, share in (("epochs", self.epochs), ("repair", self.repair)):
            if share is not None:
                values[name] = max(1, round(share * recipe.epochs))
        made: Unlearner = find_unlearner(self.unlearner)(**values)
        return made


@cache
def relative_plans() -> Mapping[float, tuple[RelativeStep, ...]]:
    """Return the steps of each plan, in the order of unlearning, by the share it was learned on."""
    text = resources.files(__package__).joinpath("auto.json").read_text("utf-8")
    return {
        plan["share"]: tuple(RelativeStep(**step) for step in plan["steps"])
        for plan in json.loads(text)["plans"]
    }


def auto_plan(recipe: Recipe, share: float = LARGE) -> dict[str, Unlearner]:
    """Return the plan `auto` for a recipe: unlearners by subset, in the order of unlearning.

    The subsets are thirds of the forget set by difficulty, named as in `SUBSETS`. The plan is the
    one that was learned on the nearest share, in ratio.

    Args:
        recipe: the training of the original model.
        share: share of D that is forgotten, above 0.

    Example:
        >>> from rum_ray.search.auto import auto_plan
        >>> from rum_ray.training import Recipe
        >>> plan = auto_plan(Recipe("small_cnn", epochs=20))
        >>> sorted(name for step in plan for name in step.split("+"))
        ['high', 'low', 'medium']
    """
    plans = relative_plans()
    nearest = min(plans, key=lambda known: abs(math.log(known / share)))
    return {step.subset: step.at(recipe) for step in plans[nearest]}
