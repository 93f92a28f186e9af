"""Jobs on streamed embeddings: sums by subset, and distances to the centroid.

`rum_ray.jobs.stream` runs them. Embeddings are not stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices, complement
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.jobs.accumulators import (
    FREQUENCIES,
    SEED,
    Accumulator,
    Floats,
    GroupSums,
    MeasureDistances,
    MeasureGroups,
    MeasureMoments,
    check_rows,
)
from rum_ray.jobs.context import Context
from rum_ray.jobs.evaluate import UnlearnedModel
from rum_ray.jobs.job import Streamed
from rum_ray.jobs.train import TrainModel
from rum_ray.partition import Partition
from rum_ray.scores.discrepancy import SAMPLE as PILOT
from rum_ray.scores.entanglement import Moments
from rum_ray.store import Artifact, Key

SAMPLE = 2000
"""Most embeddings of the retain set, and of each subset, in the two-sample test."""


@dataclass(frozen=True, eq=False)
class EmbeddingStatistics:
    """Statistics of one model's embeddings.

    Attributes:
        retain: sums of the retain set.
        subsets: sums by subset.
        two_sample_auc: AUC in [0, 1] of a linear probe that separates the subset from the retain
            set, by subset; None for a subset of one example.
    """

    retain: GroupSums
    subsets: Mapping[str, GroupSums]
    two_sample_auc: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class EmbeddingMoments:
    """Sum the embeddings of each subset under an original.

    Attributes:
        model: the original.
        partition: the forget set and its subsets.
        embedding: the layer that embeds; None is the model's own choice.
    """

    requires: ClassVar[tuple[Streamed, ...]] = ()

    model: TrainModel
    partition: Partition
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the sums."""
        drawn = {"frequencies": FREQUENCIES, "sample": SAMPLE}
        return Key("moments", {"job": self, **drawn, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureGroups:
        """Return the measure; group 0 is the retain set, group k the k-th subset."""
        return _measure_groups(self.partition, len(context.bundle.train))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Save the sums, and a two-sample test of each subset.

        Raises:
            IntegrityError: the sums do not count every row of D once.
        """
        tally.check(len(context.bundle.train))
        measure, sample = self.measure(context), tally.joined("sample")
        groups = measure.groups[measure.sampled]
        retain, aucs = sample[groups == 0], {}
        for number, name in enumerate(self.partition.names, start=1):
            subset, seed = sample[groups == number], self.model.seed / "two_sample" / name
            testable = min(len(subset), len(retain)) > 1
            aucs[name] = two_sample_auc(retain, subset, seed) if testable else None
        artifact = Artifact(_sums_to_arrays(self.partition, tally), {"two_sample_auc": aucs})
        context.store.save(self.key(context), artifact, {})

    def load(self, context: Context) -> EmbeddingStatistics:
        """Return the finished sums and tests."""
        artifact = context.load(self)
        sums = _read_sums(self.partition, artifact)
        return EmbeddingStatistics(sums.pop("retain"), sums, artifact.value["two_sample_auc"])

    def moments(self, context: Context) -> dict[str, Moments]:
        """Return the moments of "retain" and of each subset, by name."""
        return _read_moments(self.partition, context.load(self))


@dataclass(frozen=True, eq=False)
class SubsetMoments:
    """Compute the moments of each subset's embeddings, for the representation residual.

    Attributes:
        model: a retrained model, or an unlearned one.
        partition: the forget set and its subsets.
        embedding: the layer that embeds; None is the model's own choice.
    """

    requires: ClassVar[tuple[Streamed, ...]] = ()

    model: TrainModel | UnlearnedModel
    partition: Partition
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the moments."""
        return Key("moments", {"job": self, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureMoments:
        """Return the measure; group 0 is the retain set, group k the k-th subset."""
        return MeasureMoments(_groups(self.partition, len(context.bundle.train)))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Save the moments.

        Raises:
            IntegrityError: they do not count every row of D once.
        """
        tally.check(len(context.bundle.train))
        context.store.save(self.key(context), Artifact(_sums_to_arrays(self.partition, tally)), {})

    def moments(self, context: Context) -> dict[str, Moments]:
        """Return the moments of "retain" and of each subset, by name."""
        return _read_moments(self.partition, context.load(self))


@dataclass(frozen=True, eq=False)
class Centroid:
    """Compute the centroid of D's embeddings under an original.

    Attributes:
        model: the original.
        embedding: the layer that embeds; None is the model's own choice.
    """

    requires: ClassVar[tuple[Streamed, ...]] = ()

    model: TrainModel
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the centroid."""
        return Key("centroid", {"job": self, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureMoments:
        """Return the measure; all rows are group 0."""
        return MeasureMoments(np.zeros(len(context.bundle.train), dtype=np.int64))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Save the centroid.

        Raises:
            IntegrityError: it does not count every row of D once.
        """
        tally.check(len(context.bundle.train))
        context.store.save(self.key(context), Artifact({"mean": tally.sums["0"].moments.mean}), {})

    def load(self, context: Context) -> Floats:
        """Return the centroid [D]."""
        mean: NDArray[np.float64] = context.load(self).arrays["mean"]
        return mean


@dataclass(frozen=True, eq=False)
class CentroidDistances:
    """Measure the distances of D's embeddings to their centroid under an original.

    Attributes:
        model: the original.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel
    embedding: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the distances."""
        return Key("distances", {"job": self, **context.train_fingerprint})

    @property
    def centroid(self) -> Centroid:
        """The job that computes the centroid."""
        return Centroid(self.model, self.embedding)

    @property
    def requires(self) -> tuple[Streamed, ...]:
        """The job that computes the centroid, which runs first."""
        return (self.centroid,)

    def measure(self, context: Context) -> MeasureDistances:
        """Return the measure; the centroid must be in the store."""
        return MeasureDistances(self.centroid.load(context))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Save the distances [N].

        Raises:
            IntegrityError: there is not one for every row of D.
        """
        distances = tally.joined("distances")
        check_rows(len(distances), len(context.bundle.train))
        context.store.save(self.key(context), Artifact({"distances": distances}), {})

    def load(self, context: Context) -> Floats:
        """Return the distances [N]."""
        distances: NDArray[np.float64] = context.load(self).arrays["distances"]
        return distances


@lru_cache(maxsize=4)
def _measure_groups(partition: Partition, total: int) -> MeasureGroups:
    """Return the measure of all models of a partition: one object, so that it is sent once."""
    sampled = np.zeros(total, dtype=bool)
    for number, rows in enumerate(_sets(partition, total)):
        drawn = (SEED / "sample" / number).choice(len(rows), min(len(rows), SAMPLE))
        sampled[rows[drawn]] = True
    pilot = (SEED / "pilot").choice(total, min(total, PILOT))
    return MeasureGroups(_groups(partition, total), sampled, pilot)


@lru_cache(maxsize=4)
def _groups(partition: Partition, total: int) -> Indices:
    """Return the group [N] of each row: 0 is the retain set, k the k-th subset."""
    groups = np.zeros(total, dtype=np.int64)
    for number, rows in enumerate(_sets(partition, total)):
        groups[rows] = number
    return groups


def _sets(partition: Partition, total: int) -> list[Indices]:
    """Return the rows of the retain set, and of each subset."""
    return [complement(partition.rows, total), *(subset.rows for subset in partition)]


def _stored_names(partition: Partition) -> dict[str, str]:
    """Return the names of "retain" and of each subset in an artifact, in the order of groups."""
    return {"retain": "retain", **{name: f"subset/{name}" for name in partition.names}}


def _sums_to_arrays(partition: Partition, tally: Accumulator) -> dict[str, NDArray[Any]]:
    """Return the sums of all groups as arrays; `_read_sums` is the inverse."""
    names = enumerate(_stored_names(partition).values())
    parts = (tally.sums[str(group)].arrays(name) for group, name in names)
    return {name: array for part in parts for name, array in part.items()}


def _read_sums(partition: Partition, artifact: Artifact) -> dict[str, GroupSums]:
    """Return the sums of "retain" and of each subset, by name."""
    names = _stored_names(partition).items()
    return {name: GroupSums.read(artifact.arrays, stored) for name, stored in names}


def _read_moments(partition: Partition, artifact: Artifact) -> dict[str, Moments]:
    """Return the moments of "retain" and of each subset, by name."""
    return {name: sums.moments for name, sums in _read_sums(partition, artifact).items()}
