"""What is measured of a range of embeddings while they stream past: no Ray, and nothing kept.

A measure begins once a model, in each process that embeds, and is then called for each range.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.errors import IntegrityError
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
MeasureFactory: TypeAlias = Callable[[Callable[[Indices], Floats]], Measure]
"""Returns the measure of a model, from a function that embeds rows."""


@dataclass(frozen=True, eq=False)
class GroupSums:
    """What the embeddings of a group sum to.

    Attributes:
        moments: count, mean and scatter.
        waves: at `FREQUENCIES` frequencies of the kernel with gamma = 1, then at as many of that
            with the median bandwidth.
    """

    moments: Moments
    waves: Waves

    def __add__(self, other: "GroupSums") -> "GroupSums":
        return GroupSums(self.moments + other.moments, self.waves + other.waves)

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
    def read(cls, arrays: Arrays, name: str) -> "GroupSums":
        """Return the sums that stand under a name."""
        count = int(arrays[f"{name}/count"])
        moments = Moments(count, arrays[f"{name}/mean"], float(arrays[f"{name}/scatter"]))
        return cls(moments, Waves(count, arrays[f"{name}/waves"]))


@dataclass
class Accumulator:
    """What has been measured of a model so far, range by range.

    Attributes:
        sums: of each group.
        rows: arrays by name, in the order of the ranges.
    """

    sums: dict[str, GroupSums] = field(default_factory=dict)
    rows: defaultdict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))

    def add(self, part: Arrays) -> None:
        """Add what was measured of the next range."""
        for key, array in part.items():
            group, _, name = key.partition("/")
            if not name:
                self.rows[group].append(array)
            elif name == "count":
                mine = GroupSums.read(part, group)
                self.sums[group] = self.sums[group] + mine if group in self.sums else mine

    def check(self, total: int) -> None:
        """Raise IntegrityError unless the sums are those of so many rows."""
        check_rows(sum(group.moments.count for group in self.sums.values()), total)

    def joined(self, name: str) -> Floats:
        """Return the ranges' arrays of a name as one."""
        return np.concatenate(self.rows[name])


def check_rows(found: int, total: int) -> None:
    """Raise IntegrityError unless all rows have been measured once."""
    if found != total:
        raise IntegrityError(f"the stream of embeddings has {found} of {total} rows.")


@dataclass(frozen=True, eq=False)
class MeasureMoments:
    """Moments by group.

    Attributes:
        groups: [N] the group of each row.
    """

    groups: Indices

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure: arrays of `GroupSums` by group, with waves at no frequency."""
        return lambda rows, points: by_group(
            self.groups[rows], points, np.empty((0, points.shape[1]))
        )


def by_group(groups: Indices, points: Floats, waves: Floats) -> dict[str, NDArray[Any]]:
    """Return arrays of `GroupSums` by group.

    Args:
        groups: [B] the group of each embedding.
        points: [B, D] embeddings.
        waves: [F, D] the frequencies of the waves.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for group in np.unique(groups):
        mine = points[groups == group]
        arrays |= GroupSums(Moments.of(mine), Waves.of(mine, waves)).arrays(str(group))
    return arrays


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

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure: arrays of `GroupSums` by group, and "sample"."""
        points = embed_rows(self.pilot)
        gammas = {"paper": 1.0, "median": median_gamma(points)}
        waves = np.concatenate(
            [frequencies(FREQUENCIES, points.shape[1], g, SEED / n) for n, g in gammas.items()]
        )

        def measure(rows: Indices, embeddings: Floats) -> Arrays:
            sample = embeddings[self.sampled[rows]].astype(np.float32)
            return {"sample": sample, **by_group(self.groups[rows], embeddings, waves)}

        return measure


@dataclass(frozen=True, eq=False)
class MeasureDistances:
    """Distances to a centroid.

    Attributes:
        centroid: [D].
    """

    centroid: Floats

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure: "distances" [B]."""
        return lambda rows, points: {
            "distances": np.sqrt(((points - self.centroid) ** 2).sum(axis=1))
        }
