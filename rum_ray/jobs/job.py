"""The protocols of jobs: what can be computed, stored, loaded and streamed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from torch import nn

from rum_ray.jobs.accumulators import Accumulator, MeasureFactory
from rum_ray.resume import StoredRuntime
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe

if TYPE_CHECKING:
    from rum_ray.jobs.context import Context


class Job(Protocol):
    """Something to make, once.

    Attributes:
        seed: the root of its draws.
        recipe: of the models it trains; its threads count.
    """

    @property
    def seed(self) -> Seed:
        """The root of its draws."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Of the model it trains or changes."""
        ...

    def key(self, context: "Context") -> Key:
        """Return the key of what it makes."""
        ...

    def run(self, context: "Context", runtime: StoredRuntime) -> Artifact:
        """Make it."""
        ...


class Keyed(Protocol):
    """What the store can be asked for."""

    def key(self, context: "Context") -> Key:
        """Return the key of what it makes."""
        ...


class Model(Protocol):
    """Something that gives a trained model."""

    @property
    def recipe(self) -> Recipe:
        """How it was trained; its threads count."""
        ...

    def load(self, context: "Context") -> nn.Module:
        """Return the model."""
        ...


class Streamed(Protocol):
    """Something that is made of one model's embeddings of D."""

    @property
    def model(self) -> Model:
        """What embeds."""
        ...

    @property
    def embedding(self) -> str | None:
        """The layer that embeds; None is the model's own choice."""
        ...

    @property
    def requires(self) -> "Sequence[Streamed]":
        """Streamed jobs whose results this one reads."""
        ...

    def key(self, context: "Context") -> Key:
        """Return the key of the result."""
        ...

    def measure(self, context: "Context") -> MeasureFactory:
        """Return what is measured of each range."""
        ...

    def finish(self, context: "Context", tally: Accumulator) -> None:
        """Keep what was measured."""
        ...


class Loadable(Keyed, Model, Protocol):
    """A model that the store has under a key."""
