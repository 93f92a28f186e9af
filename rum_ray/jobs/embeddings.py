"""Artifacts of streamed embeddings: what those of each subset sum to.

`rum_ray.cluster.embed` streams them. Embeddings themselves are never stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

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
from rum_ray.rum import Partition
from rum_ray.scores.discrepancy import SAMPLE as PILOT
from rum_ray.scores.entanglement import Moments
from rum_ray.store import Artifact, Key

SAMPLE = 2000
"""Embeddings of the retain set, and of each subset, that the two-sample test reads at most."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """What is known of one model's embeddings.

    Attributes:
        retain: sums of the retain set.
        subsets: sums of each subset, by name.
        two_sample_auc: of a linear probe of each subset against the retain set, by name; None for
            a subset of one.
    """

    retain: GroupSums
    subsets: Mapping[str, GroupSums]
    two_sample_auc: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class EmbeddingMoments:
    """Sums of one model's embeddings, by subset.

    Attributes:
        model: an original.
        partition: the forget set and its subsets.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel
    partition: Partition
    embedding: str | None = None

    @property
    def requires(self) -> tuple[Streamed, ...]:
        """No other job."""
        return ()

    def key(self, context: Context) -> Key:
        """Return the key of the sums."""
        drawn = {"frequencies": FREQUENCIES, "sample": SAMPLE}
        return Key("moments", {"job": self, **drawn, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureGroups:
        """Return what is measured: group 0 is the retain set, k the k-th subset."""
        return _measure_groups(self.partition, len(context.bundle.train))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Keep the sums, and a two-sample test of each subset.

        Raises:
            IntegrityError: the sums are not those of all rows.
        """
        tally.check(len(context.bundle.train))
        measure, sample = self.measure(context), tally.joined("sample")
        groups = measure.groups[measure.sampled]
        retain, aucs = sample[groups == 0], {}
        for number, name in enumerate(self.partition.names, start=1):
            mine, seed = sample[groups == number], self.model.seed / "two_sample" / name
            testable = min(len(mine), len(retain)) > 1
            aucs[name] = two_sample_auc(retain, mine, seed) if testable else None
        made = Artifact(_arrays(self.partition, tally), {"two_sample_auc": aucs})
        context.store.save(self.key(context), made, {})

    def load(self, context: Context) -> Embedded:
        """Return what was kept."""
        made = context.store.load(self.key(context))
        sums = _read(self.partition, made)
        return Embedded(sums.pop("retain"), sums, made.value["two_sample_auc"])

    def moments(self, context: Context) -> dict[str, Moments]:
        """Return the moments of "retain" and of each subset, by name."""
        sums = _read(self.partition, context.store.load(self.key(context)))
        return {name: of.moments for name, of in sums.items()}


@dataclass(frozen=True, eq=False)
class SubsetMoments:
    """Moments of one model's embeddings, by subset: what the representation residual needs.

    Attributes:
        model: a retrained model, or an unlearned one.
        partition: the forget set and its subsets.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel | UnlearnedModel
    partition: Partition
    embedding: str | None = None

    @property
    def requires(self) -> tuple[Streamed, ...]:
        """No other job."""
        return ()

    def key(self, context: Context) -> Key:
        """Return the key of the moments."""
        return Key("moments", {"job": self, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureMoments:
        """Return what is measured: group 0 is the retain set, k the k-th subset."""
        return MeasureMoments(_groups(self.partition, len(context.bundle.train)))

    def finish(self, context: Context, tally: Accumulator) -> None:
        """Keep the moments.

        Raises:
            IntegrityError: they are not those of all rows.
        """
        tally.check(len(context.bundle.train))
        context.store.save(self.key(context), Artifact(_arrays(self.partition, tally)), {})

    def moments(self, context: Context) -> dict[str, Moments]:
        """Return the moments of "retain" and of each subset, by name."""
        sums = _read(self.partition, context.store.load(self.key(context)))
        return {name: of.moments for name, of in sums.items()}


@dataclass(frozen=True, eq=False)
class Centroid:
    """The centroid of D's embeddings, under one model.

    Attributes:
        model: an original.
        embedding: the layer that embeds; None is the model's own choice.
    """

    model: TrainModel
    embedding: str | None = None

    @property
    def requires(self) -> tuple[Streamed, ...]:
        """No other job."""
        return ()

    def key(self, context: Context) -> Key:
        """Return the key of the centroid."""
        return Key("centroid", {"job": self, **context.train_fingerprint})

    def measure(self, context: Context) -> MeasureMoments:
        """Return what is measured: all rows are group 0."""
        return MeasureMoments(np.zeros(len(context.bundle.train), dtype=np.int64))

    def finish(self, context: Context, tally: Accumulator) -> None:
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
        return Key("distances", {"job": self, **context.train_fingerprint})

    @property
    def centroid(self) -> Centroid:
        """The centroid that the distances are measured from."""
        return Centroid(self.model, self.embedding)

    @property
    def requires(self) -> tuple[Streamed, ...]:
        """The centroid."""
        return (self.centroid,)

    def measure(self, context: Context) -> MeasureDistances:
        """Return what is measured."""
        return MeasureDistances(self.centroid.load(context))

    def finish(self, context: Context, tally: Accumulator) -> None:
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


@lru_cache(maxsize=4)
def _measure_groups(partition: Partition, total: int) -> MeasureGroups:
    """Return one measure for all models of a partition, so that it travels once."""
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


def _kept(partition: Partition) -> dict[str, str]:
    """Return under which names the sums of "retain" and of each subset are kept, in their order."""
    return {"retain": "retain", **{name: f"subset/{name}" for name in partition.names}}


def _arrays(partition: Partition, tally: Accumulator) -> dict[str, NDArray[Any]]:
    """Return what `_read` takes, of all groups."""
    parts = (tally.sums[str(k)].arrays(name) for k, name in enumerate(_kept(partition).values()))
    return {name: array for part in parts for name, array in part.items()}


def _read(partition: Partition, made: Artifact) -> dict[str, GroupSums]:
    """Return the sums of "retain" and of each subset, by name."""
    return {name: GroupSums.read(made.arrays, kept) for name, kept in _kept(partition).items()}
