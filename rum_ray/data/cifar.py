"""CIFAR-10 and CIFAR-100: 60,000 real colour images of 32 x 32 pixels each.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Both are read from Parquet files or from the published
binary version.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from rum_ray.data import cifar_binary
from rum_ray.data.bundle import DataBundle
from rum_ray.data.cifar_binary import Version, find_binary, open_binary
from rum_ray.data.published import Form, check_size, find_parquet, open_parquet_splits
from rum_ray.data.source import Source

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
CIFAR10 = Form("cifar10", "CIFAR-10", 10, (3, 32, 32), MEAN, STD)
CIFAR100 = Form(
    "cifar100", "CIFAR-100", 100, (3, 32, 32), (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)
)
COARSE_CLASSES = 20


def cifar10(
    *,
    root: str,
    size: int | None = None,
    test_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> DataBundle:
    """Return CIFAR-10 or a stratified part of it.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        root: folder of `train.parquet` and `test.parquet`, or of the binary version: the archive
            `cifar-10-binary.tar.gz`, or `data_batch_1.bin` to `test_batch.bin` with the names of
            the classes. `~` is the home folder. Lists of row numbers that others published are in
            the order of the binary version.
        size: images in D and V together; all 50,000 by default.
        test_size: images in T, at least 1; all 10,000 by default.
        valid_fraction: share of D and V in V, in [0, 1).
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not CIFAR-10, or has too few images; or the archive
            has all images, but not the published MD5 sum.
        UnsafeError: a column could run code, an image has more than 50 megapixels, or the archive
            has more than 512 MiB.
    """
    check_size(test_size)
    sources = _sources(root, cifar_binary.CIFAR10, "label", None)
    return CIFAR10.bundle(
        sources, size=size, test_size=test_size, valid_fraction=valid_fraction, seed=seed
    )


def cifar100(
    *,
    root: str,
    labels: Literal["fine", "coarse"] = "fine",
    size: int | None = None,
    test_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> DataBundle:
    """Return CIFAR-100 or a stratified part of it, with its 100 classes or their 20 superclasses.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        root: folder of `train.parquet` and `test.parquet`, or of the binary version: the archive
            `cifar-100-binary.tar.gz`, or `train.bin` and `test.bin` with the names of the classes.
            `~` is the home folder.
        labels: `fine` for 100 classes, `coarse` for 20 superclasses.
        size: images in D and V together; all 50,000 by default.
        test_size: images in T, at least 1; all 10,000 by default.
        valid_fraction: share of D and V in V, in [0, 1).
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not CIFAR-100, or has too few images; or the archive
            has all images, but not the published MD5 sum.
        UnsafeError: a column could run code, an image has more than 50 megapixels, or the archive
            has more than 512 MiB.
    """
    check_size(test_size)
    sources = _sources(root, cifar_binary.CIFAR100, labels, f"{labels}_label")
    form = CIFAR100 if labels == "fine" else replace(CIFAR100, classes=COARSE_CLASSES)
    return form.bundle(
        sources, size=size, test_size=test_size, valid_fraction=valid_fraction, seed=seed
    )


def _sources(root: str, version: Version, labels: str, column: str | None) -> tuple[Source, Source]:
    """Return the sources of training and test images, of the binary version or Parquet files.

    Args:
        root: their folder, or the archive.
        version: the binary version.
        labels: its kind of label.
        column: the column of the labels in Parquet files; None looks for one.
    """
    place = Path(root).expanduser()
    binary = find_binary(place, version)
    if binary is not None:
        return open_binary(binary, version, labels)
    others = f", {version.archive}, or its folder {version.folder}"
    return open_parquet_splits(find_parquet(place, version.title, others), column, version.title)
