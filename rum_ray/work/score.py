"""The job that scores examples by a proxy."""

from dataclasses import dataclass

from rum_ray.resume import StoredRuntime
from rum_ray.scores.base import Proxy, Scores
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe
from rum_ray.work.base import Context


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
        """Return the key of the scores."""
        return Key("proxy", {"job": self, **context.learned})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the scores."""
        scores = self.proxy(context.bundle, self.recipe, runtime)
        return Artifact(
            {"values": scores.values, "standard_errors": scores.standard_errors}, scores.name
        )

    def load(self, context: Context) -> Scores:
        """Return the finished scores."""
        made = context.load(self)
        return Scores(made.arrays["values"], made.arrays["standard_errors"], made.value)
