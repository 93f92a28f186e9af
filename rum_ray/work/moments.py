"""Artifacts of streamed embeddings: sums by subset, and distances to the centroid of D.

`rum_ray.cluster.embed` streams them. Embeddings themselves are never stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import complement
from rum_ray.errors import IntegrityError
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.rum import Partition
from rum_ray.scores.discrepancy import SAMPLE as PILOT
from rum_ray.store import Artifact, Key
from rum_ray.work.base import Context
from rum_ray.work.measures import FREQUENCIES, SEED, Floats, MeasureGroups, Sums
from rum_ray.work.train import TrainModel

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

    retain: Sums
    subsets: Mapping[str, Sums]
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

    def key(self, context: Context) -> Key:
        """Return the key of the sums."""
        drawn = {"frequencies": FREQUENCIES, "sample": SAMPLE}
        return Key("moments", {"job": self, **drawn, **context.learned})

    def measure(self, total: int) -> MeasureGroups:
        """Return what is measured: group 0 is the retain set, k the k-th subset.

        Args:
            total: number of training examples.
        """
        groups, sampled = np.zeros(total, dtype=np.int64), np.zeros(total, dtype=bool)
        sets = [complement(self.partition.rows, total), *(s.rows for s in self.partition)]
        for number, rows in enumerate(sets):
            groups[rows] = number
            drawn = (SEED / "sample" / number).choice(len(rows), min(len(rows), SAMPLE))
            sampled[rows[drawn]] = True
        pilot = (SEED / "pilot").choice(total, min(total, PILOT))
        return MeasureGroups(groups, sampled, pilot)

    def finish(self, context: Context, sums: Mapping[str, Sums], sample: Floats) -> None:
        """Keep the sums, and a two-sample test of each subset.

        Args:
            context: the data and the store.
            sums: by the number of the group.
            sample: embeddings of the sampled rows, in the order of the rows.

        Raises:
            IntegrityError: the sums are not those of all rows.
        """
        total = len(context.bundle.train)
        counted = sum(group.moments.count for group in sums.values())
        if counted != total:
            raise IntegrityError(f"the stream of embeddings has {counted} of {total} rows.")
        measure = self.measure(total)
        groups = measure.groups[measure.sampled]
        retain, arrays, aucs = sample[groups == 0], sums["0"].arrays("retain"), {}
        for number, name in enumerate(self.partition.names, start=1):
            mine, seed = sample[groups == number], self.model.seed / "two_sample" / name
            testable = min(len(mine), len(retain)) > 1
            aucs[name] = two_sample_auc(retain, mine, seed) if testable else None
            arrays |= sums[str(number)].arrays(f"subset/{name}")
        context.store.save(self.key(context), Artifact(arrays, {"two_sample_auc": aucs}), {})

    def load(self, context: Context) -> Embedded:
        """Return what was kept."""
        made = context.store.load(self.key(context))
        names = self.partition.names
        return Embedded(
            retain=Sums.read(made.arrays, "retain"),
            subsets={name: Sums.read(made.arrays, f"subset/{name}") for name in names},
            two_sample_auc=made.value["two_sample_auc"],
        )


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

    def finish(self, context: Context, distances: Floats) -> None:
        """Keep the distances [N].

        Raises:
            IntegrityError: they are not those of all rows.
        """
        total = len(context.bundle.train)
        if len(distances) != total:
            raise IntegrityError(f"the stream of embeddings has {len(distances)} of {total} rows.")
        context.store.save(self.key(context), Artifact({"distances": distances}), {})

    def load(self, context: Context) -> Floats:
        """Return the distances [N]."""
        distances: NDArray[np.float64] = context.store.load(self.key(context)).arrays["distances"]
        return distances
