"""Surrogate forget sets: retain examples that are matched to a forget set by class and score."""

import bisect
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices, complement
from rum_ray.errors import ScoreError
from rum_ray.partition import Partition, Subset
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed


def matched(partition: Partition, scores: Scores, labels: ArrayLike, seed: Seed) -> Partition:
    """Return a surrogate of a forget set: as many retain examples with similar scores, by class.

    Each example of the forget set is matched to a retain example of the same class, the one with
    the nearest score among those not matched yet. The hardest examples are matched first. A match
    has the subset of its example, so subsets keep their names, sizes and order. If the forget set
    holds the hardest examples of a class, their matches are easier.

    Args:
        partition: the forget set.
        scores: [N] scores of the training set; retain examples without a score are not matched.
        labels: [N] labels of the training set.
        seed: seed of the choice between equal scores.

    Raises:
        ScoreError: the retain set has too few examples of a class with a score.
    """
    y, values = np.asarray(labels), scores.values
    subset_of = {int(row): subset.name for subset in partition for row in subset.rows}
    retain = complement(partition.rows, len(scores))
    rows: dict[str, list[int]] = {name: [] for name in partition.names}
    for label in np.unique(y[partition.rows]):
        forget = partition.rows[y[partition.rows] == label]
        known = retain[(y[retain] == label) & ~np.isnan(values[retain])]
        if len(known) < len(forget):
            raise ScoreError(
                f"a surrogate needs {len(forget)} retain examples of class {label}, one per "
                f"forgotten example; {len(known)} have a score. Forget fewer examples of the class."
            )
        for row, match in _matches(forget, known, values, seed / int(label)):
            rows[subset_of[row]].append(match)
    return Partition(tuple(Subset(name, np.sort(matches)) for name, matches in rows.items()))


def _matches(
    forget: Indices, retain: Indices, values: NDArray[np.float64], seed: Seed
) -> Iterator[tuple[int, int]]:
    """Yield (row, match) for each forgotten row of one class."""
    shuffled = retain[seed.permutation(len(retain))]
    free = sorted((float(values[row]), index) for index, row in enumerate(shuffled))
    # A forgotten example without a score is matched to the mean score.
    targets = np.nan_to_num(values[forget], nan=float(np.mean(values[retain])))
    for index in np.argsort(-targets, kind="stable"):
        at = bisect.bisect_left(free, (float(targets[index]), -1))
        near = [i for i in (at - 1, at) if 0 <= i < len(free)]
        best = min(near, key=lambda i: abs(free[i][0] - targets[index]))
        yield int(forget[index]), int(shuffled[free.pop(best)[1]])
