"""Artifacts of streamed embeddings: D's centroid, and the distances to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rum_ray.store import Artifact, Key
from rum_ray.work.base import Context
from rum_ray.work.measures import Floats, MeasureDistances, MeasureMoments, Tally, check_rows
from rum_ray.work.train import TrainModel


@dataclass(frozen=True, eq=False)
class Centroid:
    """The centroid of D's embeddings, under one model.

    Attributes:
        model: an original.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the centroid."""
        return Key("centroid", {"job": self, **context.learned})

    def measure(self, context: Context) -> MeasureMoments:
        """Return what is measured: all rows are group 0."""
        return MeasureMoments(np.zeros(len(context.bundle.train), dtype=np.int64))

    def finish(self, context: Context, tally: Tally) -> None:
        """Keep the centroid.

        Raises:
            IntegrityError: it is not that of all rows.
        """
        tally.check(len(context.bundle.train))
        context.store.save(self.key(context), Artifact({"mean": tally.sums["0"].moments.mean}), {})

    def load(self, context: Context) -> Floats:
        """Return the centroid [D]."""
        mean: NDArray[np.float64] = context.store.load(self.key(context)).arrays["mean"]
        return mean


@dataclass(frozen=True, eq=False)
class CentroidDistances:
    """Distances of D's embeddings to their centroid, under one model.

    Attributes:
        model: an original.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the distances."""
        return Key("distances", {"job": self, **context.learned})

    @property
    def centroid(self) -> Centroid:
        """What the distances are from; it must be kept before."""
        return Centroid(self.model, self.embedding)

    def measure(self, context: Context) -> MeasureDistances:
        """Return what is measured."""
        return MeasureDistances(self.centroid.load(context))

    def finish(self, context: Context, tally: Tally) -> None:
        """Keep the distances [N].

        Raises:
            IntegrityError: they are not those of all rows.
        """
        distances = tally.joined("distances")
        check_rows(len(distances), len(context.bundle.train))
        context.store.save(self.key(context), Artifact({"distances": distances}), {})

    def load(self, context: Context) -> Floats:
        """Return the distances [N]."""
        distances: NDArray[np.float64] = context.store.load(self.key(context)).arrays["distances"]
        return distances
