"""Matched sets: retain examples that resemble a forget set, to practise forgetting on."""

import bisect
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices, complement
from rum_ray.errors import ScoreError
from rum_ray.rum import Partition, Subset
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed


def matched(partition: Partition, scores: Scores, labels: ArrayLike, seed: Seed) -> Partition:
    """Return a surrogate of a forget set: as many retain examples of the same classes and scores.

    Each forgotten example gets a partner from the retain set, of its own class and with the nearest
    score that is left; the hardest choose first. A partner's subset is that of its example, so
    subsets keep their names, sizes and order. Where the forget set has taken all of a class's
    hardest examples, partners are easier.

    Args:
        partition: the forget set.
        scores: of the training set; examples without one are nobody's partner.
        labels: [N] of the training set.
        seed: decides between equal scores.

    Raises:
        ScoreError: the retain set has too few examples of a class.
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
                f"a surrogate needs as many retain examples of class {label} as are forgotten, "
                f"{len(forget)}, and {len(known)} have a score. Forget fewer of them."
            )
        for row, partner in _partners(forget, known, values, seed / int(label)):
            rows[subset_of[row]].append(partner)
    return Partition(tuple(Subset(name, np.sort(found)) for name, found in rows.items()))


def _partners(
    forget: Indices, retain: Indices, values: NDArray[np.float64], seed: Seed
) -> Iterator[tuple[int, int]]:
    """Yield (row, partner) for each forgotten row of one class."""
    shuffled = retain[seed.permutation(len(retain))]
    left = sorted((float(values[row]), place) for place, row in enumerate(shuffled))
    # An example without a score is taken for an average one.
    wanted = np.nan_to_num(values[forget], nan=float(np.mean(values[retain])))
    for index in np.argsort(-wanted, kind="stable"):
        at = bisect.bisect_left(left, (float(wanted[index]), -1))
        near = [place for place in (at - 1, at) if 0 <= place < len(left)]
        best = min(near, key=lambda place: abs(left[place][0] - wanted[index]))
        yield int(forget[index]), int(shuffled[left.pop(best)[1]])
