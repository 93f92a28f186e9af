"""The evaluated sets: forget, retain and test set, with the labels that an attack knows."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, complement
from rum_ray.partition import Partition
from rum_ray.seeding import Seed

Split = Literal["valid", "test"]
Members = Literal["random", "first"]


def label_sets(
    bundle: DataBundle, partition: Partition, split: Split
) -> dict[str, NDArray[np.int64]]:
    """Return the labels of "forget", "retain" and "test" set that an attack knows.

    Those of "test" went through the same label process as D.
    """
    y, forget = bundle.train.y.numpy(), partition.rows
    return {
        "forget": y[forget],
        "retain": y[complement(forget, len(y))],
        "test": bundle.nonmembers(split).y.numpy(),
    }


def subset_places(partition: Partition) -> dict[str, NDArray[np.int64]]:
    """Return the positions of each subset's rows in the forget set, by subset."""
    return {s.name: np.searchsorted(partition.rows, s.rows) for s in partition}


def sample_members(retain: int, unseen: int, members: Members) -> NDArray[np.int64]:
    """Return the positions of the sampled members in the retain set, the same for all models."""
    size = min(retain, unseen)
    if members == "first":
        return np.arange(size)
    return (Seed(0) / "attack" / "members").choice(retain, size)
