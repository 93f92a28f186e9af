"""The job that scores examples by a proxy."""

from dataclasses import dataclass

import numpy as np

from rum_ray.digest import digest
from rum_ray.errors import ScoreError
from rum_ray.jobs.context import Context
from rum_ray.resume import StoredRuntime
from rum_ray.scores.base import Proxy, Scores
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ScoreByProxy:
    """Score D by a proxy.

    Attributes:
        proxy: a value of `PROXIES`.
        recipe: of the models it trains.
        seed: of its draws.
    """

    proxy: Proxy
    recipe: Recipe
    seed: Seed

    def key(self, context: Context) -> Key:
        """Return the key of the scores; V counts, since a proxy may learn it."""
        bundle = context.bundle
        heldout = digest([bundle.valid, bundle.reserved, bundle.label_noise])
        return Key("proxy", {"job": self, "heldout": heldout, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the scores.

        Raises:
            ScoreError: the proxy does not give one score an example, or knows none.
        """
        scores = self.proxy(context.bundle, self.recipe, runtime)
        if len(scores) != len(context.bundle.train):
            raise ScoreError(
                f"proxy {type(self.proxy).__qualname__} gave {len(scores)} scores for "
                f"{len(context.bundle.train)} examples; it must give one for each, in their order."
            )
        if not np.isfinite(scores.values).any():
            raise ScoreError(
                f"proxy {type(self.proxy).__qualname__} gave no number for any example (NaN); "
                "train with a lower lr, or choose another."
            )
        return Artifact(
            {"values": scores.values, "standard_errors": scores.standard_errors}, scores.name
        )

    def cost(self, context: Context) -> float:
        """Return the examples passed forward and backward: one training, unless the proxy says."""
        bundle, cost = context.bundle, getattr(self.proxy, "cost", None)
        once = float(self.recipe.epochs * len(bundle.train))
        return once if cost is None else float(cost(bundle, self.recipe))

    def load(self, context: Context) -> Scores:
        """Return the finished scores."""
        made = context.load(self)
        return Scores(made.arrays["values"], made.arrays["standard_errors"], made.value)
