"""Scikit-learn's handwritten digits: 1,797 real grey images of 8 x 8 pixels, embedded in it."""

from importlib.metadata import distribution

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, LabeledData, LabelNoise
from rum_ray.data.splits import stratified_split
from rum_ray.seeding import Seed


def digits(*, label_noise: float = 0.1, seed: int = 0) -> DataBundle:
    """Return the digits, split into 1,200 / 200 / 397 with the classes in proportion.

    Args:
        label_noise: share of the training labels that get another class, in [0, 1); the truth is
            kept in `DataBundle.true_labels`.
        seed: root of the split and of the label noise.
    """
    if not 0 <= label_noise < 1:
        raise ValueError(f"label_noise must be in [0, 1), got {label_noise}")
    table = _table()
    everything = LabeledData(
        x=torch.from_numpy(table[:, :-1] / 16.0).float().reshape(-1, 1, 8, 8),
        y=torch.from_numpy(table[:, -1]).long(),
        num_classes=10,
    )
    root = Seed(seed) / "data"
    train, valid, test = (
        everything.take(rows) for rows in stratified_split(everything.y, (1200, 200, 397), root)
    )
    noise = LabelNoise(label_noise, root)
    return DataBundle(
        name="digits",
        train=train.relabeled(noise(train.y, 10, "train")),
        valid=valid,
        test=test,
        class_names=tuple("0123456789"),
        label_noise=noise,
        true_labels=train.y,
    )


def _table() -> NDArray[np.float64]:
    """Return [1797, 65] the pixels, in 0 .. 16, and the label of each digit."""
    # The file that scikit-learn's `load_digits` reads: importing it would take a second each time.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    return np.loadtxt(str(file), delimiter=",")
