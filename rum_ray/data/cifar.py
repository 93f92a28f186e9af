"""CIFAR-10: 60,000 real colour images of 32 x 32 pixels in ten classes.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html, as two Parquet files.
"""

from pathlib import Path

import numpy as np

from rum_ray.data.bundle import DataBundle
from rum_ray.data.images import assemble, split_train
from rum_ray.data.source import open_source
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError
from rum_ray.seeding import Seed

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


def cifar10(
    *, root: str, size: int | None = None, test_size: int | None = None, seed: int = 0
) -> DataBundle:
    """Return CIFAR-10 or a stratified part of it; V is 10 % of D and V together.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        root: folder of `train.parquet` and `test.parquet`; `~` is the home folder.
        size: images in D and V together; all 50,000 by default.
        test_size: images in T; all 10,000 by default.
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not CIFAR-10, or has too few images.
        UnsafeError: a column could run code, or an image has more than 50 megapixels.
    """
    if test_size is not None and test_size < 1:
        raise ConfigError(f"test_size must be at least 1, got {test_size}.")
    files = [Path(root).expanduser() / name for name in ("train.parquet", "test.parquet")]
    for file in files:
        if not file.exists():
            raise DataError(
                f"data not found: {file}. `root` must be the folder with train.parquet and "
                f"test.parquet of CIFAR-10."
            )
    train = open_source(files[0])
    test = open_source(files[1], like=train)
    d, v = split_train(train.y, len(train.y) if size is None else size, 0.1, seed)
    t = np.arange(len(test.y))
    if test_size is not None:
        [t] = stratified_split(test.y, (test_size,), Seed(seed) / "data" / "test")
    bundle = assemble("cifar10", (train, test), (d, v, t), (MEAN, STD))
    shape = (bundle.num_classes, *bundle.train.shape)
    if shape != (10, 3, 32, 32):
        raise DataError(
            f"{root} is not CIFAR-10: (classes, channels, height, width) are {shape}, not "
            f"(10, 3, 32, 32). For your own images, use the data set 'images'."
        )
    return bundle
