"""What is measured of a range of embeddings while they stream past: no Ray, and nothing kept.

A measure begins once a model, in each process that embeds, and is then called for each range.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.scores.discrepancy import Waves, frequencies, median_gamma
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed

FREQUENCIES = 512
"""Of the waves, for each bandwidth."""
SEED = Seed(0) / "embed"

Floats: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Measure: TypeAlias = Callable[[Indices, Floats], Arrays]
"""Returns what is kept of a range, from its rows [B] and embeddings [B, D]."""
Begin: TypeAlias = Callable[[int, Callable[[Indices], Floats]], Measure]
"""Returns the measure of a model, from its number and a function that embeds rows."""


@dataclass(frozen=True, eq=False)
class Sums:
    """What the embeddings of a group sum to.

    Attributes:
        moments: count, mean and scatter.
        waves: at `FREQUENCIES` frequencies of the kernel with gamma = 1, then at as many of that
            with the median bandwidth.
    """

    moments: Moments
    waves: Waves

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.moments + other.moments, self.waves + other.waves)

    def bandwidth(self, median: bool) -> Waves:
        """Return the waves of one bandwidth: gamma = 1, or the median's."""
        part = slice(FREQUENCIES, None) if median else slice(FREQUENCIES)
        return Waves(self.waves.count, self.waves.sums[:, part])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays that `read` takes, under a name."""
        return {
            f"{name}/count": np.array(self.moments.count),
            f"{name}/mean": self.moments.mean,
            f"{name}/scatter": np.array(self.moments.scatter),
            f"{name}/waves": self.waves.sums,
        }

    @classmethod
    def read(cls, arrays: Arrays, name: str) -> "Sums":
        """Return the sums that stand under a name."""
        count = int(arrays[f"{name}/count"])
        moments = Moments(count, arrays[f"{name}/mean"], float(arrays[f"{name}/scatter"]))
        return cls(moments, Waves(count, arrays[f"{name}/waves"]))


@dataclass(frozen=True, eq=False)
class MeasureGroups:
    """Sums by group, and the embeddings of some rows as they are.

    Attributes:
        groups: [N] the group of each row.
        sampled: [N] whether its embedding is kept.
        pilot: rows whose distances set the median bandwidth.
    """

    groups: Indices
    sampled: NDArray[np.bool_]
    pilot: Indices

    def __call__(self, number: int, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure: arrays of `Sums` by group, and "sample"."""
        points = embed_rows(self.pilot)
        gammas = {"paper": 1.0, "median": median_gamma(points)}
        waves = np.concatenate(
            [frequencies(FREQUENCIES, points.shape[1], g, SEED / n) for n, g in gammas.items()]
        )

        def measure(rows: Indices, embeddings: Floats) -> Arrays:
            groups = self.groups[rows]
            sample = embeddings[self.sampled[rows]].astype(np.float32)
            arrays: dict[str, NDArray[Any]] = {"sample": sample}
            for group in np.unique(groups):
                mine = embeddings[groups == group]
                arrays |= Sums(Moments.of(mine), Waves.of(mine, waves)).arrays(str(group))
            return arrays

        return measure


def measure_all(number: int, embed_rows: Callable[[Indices], Floats]) -> Measure:
    """Return a model's measure: arrays of the `Sums` of all rows, under "all", without waves."""

    def measure(rows: Indices, embeddings: Floats) -> Arrays:
        nothing = Waves.of(embeddings, np.empty((0, embeddings.shape[1])))
        return Sums(Moments.of(embeddings), nothing).arrays("all")

    return measure


@dataclass(frozen=True, eq=False)
class MeasureDistances:
    """Distances to a centroid.

    Attributes:
        centroids: [D] of each model.
    """

    centroids: Sequence[Floats]

    def __call__(self, number: int, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure: "distances" [B]."""
        centroid = self.centroids[number]
        return lambda rows, points: {"distances": np.sqrt(((points - centroid) ** 2).sum(axis=1))}
