"""The artifact of streamed embeddings: moments of the retain set and of each subset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.rum import Partition
from rum_ray.scores.entanglement import Moments
from rum_ray.store import Artifact, Key
from rum_ray.work.base import Context
from rum_ray.work.train import TrainModel

RETAIN = "retain"


@dataclass(frozen=True, eq=False)
class EmbeddingMoments:
    """Moments of one model's embeddings; `rum_ray.cluster.embed` streams them.

    Attributes:
        model: an original.
        partition: the forget set and its subsets.
    """

    model: TrainModel
    partition: Partition

    @property
    def groups(self) -> tuple[str, ...]:
        """The retain set and the subsets, by name."""
        return (RETAIN, *self.partition.names)

    def key(self, context: Context) -> Key:
        """Return the key of the moments."""
        return Key("moments", {"job": self, **context.learned})

    def save(self, context: Context, moments: Mapping[str, Moments]) -> None:
        """Keep the moments of each group."""
        arrays: dict[str, NDArray[Any]] = {}
        for group, sums in moments.items():
            arrays[f"{group}/count"] = np.array(sums.count)
            arrays[f"{group}/mean"] = sums.mean
            arrays[f"{group}/scatter"] = np.array(sums.scatter)
        context.store.save(self.key(context), Artifact(arrays), {})

    def load(self, context: Context) -> dict[str, Moments]:
        """Return the moments of each group."""
        arrays = context.store.load(self.key(context)).arrays
        return {
            group: Moments(
                int(arrays[f"{group}/count"]),
                arrays[f"{group}/mean"],
                float(arrays[f"{group}/scatter"]),
            )
            for group in self.groups
        }
