"""Scikit-learn's handwritten digits: 1,797 real grey images of 8 x 8 pixels, installed with it."""

from importlib.metadata import distribution

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, LabeledData, LabelNoise
from rum_ray.data.splits import stratified_split
from rum_ray.seeding import Seed


def digits(*, label_noise: float = 0.1, seed: int = 0) -> DataBundle:
    """Return the digits in a stratified split of 1,200 / 200 / 397.

    Args:
        label_noise: share of the training labels replaced by another class, in [0, 1); the true
            labels are in `DataBundle.true_labels`.
        seed: seed of the split and of the label noise.
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
    """Return [1797, 65]: 64 pixels in 0 .. 16 and the label of each digit."""
    # The file is the one of scikit-learn's `load_digits`, whose import takes about 1 s.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    return np.loadtxt(str(file), delimiter=",")
