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
    """A unit of work whose result is stored under a key."""

    @property
    def seed(self) -> Seed:
        """The root of the random draws."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The recipe of the model that the job trains or changes; sets the number of threads."""
        ...

    def key(self, context: "Context") -> Key:
        """Return the key of the result."""
        ...

    def run(self, context: "Context", runtime: StoredRuntime) -> Artifact:
        """Compute the result."""
        ...


class Keyed(Protocol):
    """A value whose result has a key in the store."""

    def key(self, context: "Context") -> Key:
        """Return the key of the result."""
        ...


class Model(Protocol):
    """A source of a trained model."""

    @property
    def recipe(self) -> Recipe:
        """The recipe of the training; sets the number of threads."""
        ...

    def load(self, context: "Context") -> nn.Module:
        """Return the model."""
        ...


class Streamed(Protocol):
    """A job whose result is computed from one model's embeddings of D."""

    @property
    def model(self) -> Model:
        """The model that embeds."""
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
        """Return the measure that is applied to each range."""
        ...

    def finish(self, context: "Context", tally: Accumulator) -> None:
        """Save the result."""
        ...


class Loadable(Keyed, Model, Protocol):
    """A model whose weights are in the store."""
