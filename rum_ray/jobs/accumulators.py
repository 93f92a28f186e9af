"""Measures of streamed embeddings and their accumulators; embeddings are not stored.

A process that embeds calls a `MeasureFactory` once per model, and the `Measure` that it returns
once per range of rows. `Accumulator` adds up the measurements.
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
"""Number of random frequencies per bandwidth."""
SEED = Seed(0) / "embed"

Floats: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Measure: TypeAlias = Callable[[Indices, Floats], Arrays]
"""Returns the measurements of a range, from its rows [B] and embeddings [B, D]."""
MeasureFactory: TypeAlias = Callable[[Callable[[Indices], Floats]], Measure]
"""Returns the measure of one model, from a function that embeds any rows."""


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Sums over the embeddings of a group of rows; the sums of two disjoint groups add.

    Attributes:
        moments: count, mean and scatter.
        waves: sums at `FREQUENCIES` frequencies of the kernel with gamma = 1, then at as many of
            the kernel with the median bandwidth.
    """

    moments: Moments
    waves: Waves

    def __add__(self, other: "GroupSums") -> "GroupSums":
        return GroupSums(self.moments + other.moments, self.waves + other.waves)

    def bandwidth(self, median: bool) -> Waves:
        """Return the waves of one kernel: gamma = 1, or the median bandwidth."""
        part = slice(FREQUENCIES, None) if median else slice(FREQUENCIES)
        return Waves(self.waves.count, self.waves.sums[:, part])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the sums as arrays under a name; `read` is the inverse."""
        return {
            f"{name}/count": np.array(self.moments.count),
            f"{name}/mean": self.moments.mean,
            f"{name}/scatter": np.array(self.moments.scatter),
            f"{name}/waves": self.waves.sums,
        }

    @classmethod
    def read(cls, arrays: Arrays, name: str) -> "GroupSums":
        """Return the sums from the arrays under a name."""
        count = int(arrays[f"{name}/count"])
        moments = Moments(count, arrays[f"{name}/mean"], float(arrays[f"{name}/scatter"]))
        return cls(moments, Waves(count, arrays[f"{name}/waves"]))


@dataclass
class Accumulator:
    """The measurements of one model so far.

    Attributes:
        sums: sums by group.
        rows: arrays with one entry per row, by name; one array per range, in order.
    """

    sums: dict[str, GroupSums] = field(default_factory=dict)
    rows: defaultdict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))

    def add(self, part: Arrays) -> None:
        """Add the measurements of the next range."""
        for key, array in part.items():
            group, _, name = key.partition("/")
            if not name:
                self.rows[group].append(array)
            elif name == "count":
                sums = GroupSums.read(part, group)
                self.sums[group] = self.sums[group] + sums if group in self.sums else sums

    def check(self, total: int) -> None:
        """Raise IntegrityError unless the sums count `total` rows."""
        check_rows(sum(group.moments.count for group in self.sums.values()), total)

    def joined(self, name: str) -> Floats:
        """Return the arrays of all ranges under a name, concatenated."""
        return np.concatenate(self.rows[name])


def check_rows(count: int, total: int) -> None:
    """Raise IntegrityError unless the number of measured rows is `total`."""
    if count != total:
        raise IntegrityError(f"the stream of embeddings has {count} of {total} rows.")


@dataclass(frozen=True, eq=False)
class MeasureMoments:
    """Measures the moments of each group.

    Attributes:
        groups: [N] the group of each row.
    """

    groups: Indices

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a measure of `GroupSums` by group, without waves."""
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
        members = points[groups == group]
        arrays |= GroupSums(Moments.of(members), Waves.of(members, waves)).arrays(str(group))
    return arrays


@dataclass(frozen=True, eq=False)
class MeasureGroups:
    """Measures the sums of each group and keeps the embeddings of a sample.

    Attributes:
        groups: [N] the group of each row.
        sampled: [N] True for the rows of the sample.
        pilot: rows whose distances set the median bandwidth.
    """

    groups: Indices
    sampled: NDArray[np.bool_]
    pilot: Indices

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a measure of `GroupSums` by group, and of "sample": embeddings [S, D]."""
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
    """Measures the distance of each row to a centroid.

    Attributes:
        centroid: [D], in embedding space.
    """

    centroid: Floats

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a measure of "distances" [B]."""
        return lambda rows, points: {
            "distances": np.sqrt(((points - self.centroid) ** 2).sum(axis=1))
        }
