"""The job that scores D by a proxy."""

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
    """Score the examples of D by a proxy.

    Attributes:
        proxy: a value of `PROXIES`, or a plug-in.
        recipe: the recipe of the models that the proxy trains.
        seed: the root of the random draws.
    """

    proxy: Proxy
    recipe: Recipe
    seed: Seed

    def key(self, context: Context) -> Key:
        """Return the key of the scores; it includes V, on which a proxy may train."""
        bundle = context.bundle
        heldout = digest([bundle.valid, bundle.reserved, bundle.label_noise])
        return Key("proxy", {"job": self, "heldout": heldout, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the scores.

        Raises:
            ScoreError: the number of scores is not that of the examples, or all are NaN.
        """
        scores = self.proxy(context.bundle, self.recipe, runtime)
        if len(scores) != len(context.bundle.train):
            raise ScoreError(
                f"proxy {type(self.proxy).__qualname__} returned {len(scores)} scores for "
                f"{len(context.bundle.train)} examples. It must return one score per example, in "
                "the order of the examples."
            )
        if not np.isfinite(scores.values).any():
            raise ScoreError(
                f"every score of proxy {type(self.proxy).__qualname__} is NaN. Lower the lr of "
                "the recipe, or choose another proxy."
            )
        return Artifact(
            {"values": scores.values, "standard_errors": scores.standard_errors}, scores.name
        )

    def cost(self, context: Context) -> float:
        """Return the cost in examples passed forward and backward, as in `Plan.cost`.

        A proxy without a method `cost` counts as one training.
        """
        bundle, cost = context.bundle, getattr(self.proxy, "cost", None)
        once = float(self.recipe.epochs * len(bundle.train))
        return once if cost is None else float(cost(bundle, self.recipe))

    def load(self, context: Context) -> Scores:
        """Return the finished scores."""
        artifact = context.load(self)
        arrays = artifact.arrays
        return Scores(arrays["values"], arrays["standard_errors"], artifact.value)
