"""Stratified splits."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rum_ray.errors import DataError
from rum_ray.seeding import Seed


def stratified_split(
    y: Tensor, sizes: tuple[int, ...], seed: Seed
) -> tuple[NDArray[np.int64], ...]:
    """Return disjoint rows of the given sizes, stratified by class.

    The number of examples of a class in a part differs from its exact share by at most one.
    The examples are drawn from `seed`. Each part is sorted.

    Args:
        y: [N] labels.
        sizes: number of examples per part; the remaining examples are in no part.
        seed: seed of the draw.

    Raises:
        DataError: the sum of the sizes exceeds the number of examples.
    """
    if sum(sizes) > len(y):
        raise DataError(
            f"a split into {' + '.join(map(str, sizes))} needs {sum(sizes)} examples, but there "
            f"are {len(y)}. Ask for fewer."
        )
    labels = y.numpy()
    counts = np.unique(labels, return_counts=True)[1]
    quotas = _apportion(np.array([*sizes, len(y) - sum(sizes)]), counts)
    order = (seed / "split").permutation(len(y))
    by_class = order[np.argsort(labels[order], kind="stable")]
    ends = np.cumsum(quotas.T.ravel())[:-1]
    cells = np.split(by_class, ends)
    return tuple(np.sort(np.concatenate(cells[i :: len(quotas)])) for i in range(len(sizes)))


def _apportion(sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [P, K], the number of examples of each class in each part; both sums are exact.

    Each cell is its exact proportion rounded down, or that plus one. Part by part, the "plus one"
    goes to the classes with the most unassigned examples, as in the construction of the Gale-Ryser
    theorem. The unassigned examples therefore always fit into the later parts.
    """
    exact = np.outer(sizes, counts)
    quotas: NDArray[np.int64] = exact // counts.sum()
    unassigned = counts - quotas.sum(axis=0)
    for row, size, remainder in zip(quotas, sizes, exact % counts.sum(), strict=True):
        winners = np.lexsort((-remainder, -unassigned))[: size - row.sum()]
        row[winners] += 1
        unassigned[winners] -= 1
    return quotas
