"""CIFAR-10 and CIFAR-100: 60,000 real colour images of 32 x 32 pixels each.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. CIFAR-10 is read from Parquet files, CIFAR-100 from
Parquet files or from the published binary version.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from rum_ray.data.bundle import DataBundle
from rum_ray.data.cifar_binary import ARCHIVE, FOLDER, find_binary, open_binary
from rum_ray.data.published import Form, check_size, find_parquet, open_parquet_splits

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
CIFAR10 = Form("cifar10", "CIFAR-10", 10, (3, 32, 32), MEAN, STD)
CIFAR100 = Form(
    "cifar100", "CIFAR-100", 100, (3, 32, 32), (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)
)
COARSE_CLASSES = 20


def cifar10(
    *, root: str, size: int | None = None, test_size: int | None = None, seed: int = 0
) -> DataBundle:
    """Return CIFAR-10 or a stratified part of it; V is 10 % of D and V together.

    Reference: Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        root: folder of `train.parquet` and `test.parquet`; `~` is the home folder.
        size: images in D and V together; all 50,000 by default.
        test_size: images in T, at least 1; all 10,000 by default.
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not CIFAR-10, or has too few images.
        UnsafeError: a column could run code, or an image has more than 50 megapixels.
    """
    check_size(test_size)
    files = find_parquet(Path(root).expanduser(), CIFAR10.title)
    sources = open_parquet_splits(files, None, CIFAR10.title)
    return CIFAR10.bundle(sources, size=size, test_size=test_size, valid_fraction=0.1, seed=seed)


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
    place = Path(root).expanduser()
    binary = find_binary(place)
    if binary is not None:
        sources = open_binary(binary, labels)
    else:
        others = f", {ARCHIVE}, or its folder {FOLDER}"
        files = find_parquet(place, CIFAR100.title, others)
        sources = open_parquet_splits(files, f"{labels}_label", CIFAR100.title)
    form = CIFAR100 if labels == "fine" else replace(CIFAR100, classes=COARSE_CLASSES)
    return form.bundle(
        sources, size=size, test_size=test_size, valid_fraction=valid_fraction, seed=seed
    )
