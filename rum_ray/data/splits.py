"""Splits with the classes in proportion."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rum_ray.errors import DataError
from rum_ray.seeding import Seed


def stratified_split(
    y: Tensor, sizes: tuple[int, ...], seed: Seed
) -> tuple[NDArray[np.int64], ...]:
    """Return disjoint rows in the given sizes, each with the classes in proportion.

    A part has its exact share of each class, give or take at most one example.
    Which examples they are is drawn from `seed`. Each part is sorted.

    Args:
        y: [N] labels.
        sizes: examples in each part; what they leave of N is in none.
        seed: where the draw comes from.

    Raises:
        DataError: the sizes sum to more than there are examples.
    """
    if sum(sizes) > len(y):
        raise DataError(
            f"a split into {' + '.join(map(str, sizes))} needs {sum(sizes)} examples, but there "
            f"are {len(y)}. Ask for fewer."
        )
    labels = y.numpy()
    counts = np.unique(labels, return_counts=True)[1]
    deal = _deal(np.array([*sizes, len(y) - sum(sizes)]), counts)
    order = (seed / "split").permutation(len(y))
    by_class = order[np.argsort(labels[order], kind="stable")]
    ends = np.cumsum(deal.T.ravel())[:-1]
    cells = np.split(by_class, ends)
    return tuple(np.sort(np.concatenate(cells[i :: len(deal)])) for i in range(len(sizes)))


def _deal(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [P, K] how many examples of each class go to each part; both sums are exact.

    Each cell is its exact proportion, rounded down or that plus one. The parts, in turn, give
    their "plus one" to the classes that have most examples left over, as in the Gale-Ryser
    theorem's construction, so that what is left over always fits the later parts.
    """
    exact = np.outer(sizes, counts)
    deal: NDArray[np.int64] = exact // counts.sum()
    left = counts - deal.sum(axis=0)
    for row, size, remainder in zip(deal, sizes, exact % counts.sum(), strict=True):
        winners = np.lexsort((-remainder, -left))[: size - row.sum()]
        row[winners] += 1
        left[winners] -= 1
    return deal
