"""SVHN: 99,289 real colour images of 32 x 32 pixels, cropped around digits of house numbers.

Netzer et al., "Reading digits in natural images with unsupervised feature learning", NIPS Workshop
2011, http://ufldl.stanford.edu/housenumbers. They are read from Parquet files, or from the
published MAT-files of format 2.
"""

import hashlib
from pathlib import Path

import numpy as np

from rum_ray.data.bundle import DataBundle
from rum_ray.data.matfile import read_mat
from rum_ray.data.published import (
    SPLITS,
    Form,
    check_size,
    find_parquet,
    open_parquet_splits,
    raw_source,
    read_file,
)
from rum_ray.data.source import Source
from rum_ray.errors import DataError, first_ten

SVHN = Form("svhn", "SVHN", 10, (3, 32, 32), (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
DIGITS = tuple("0123456789")
FILES = tuple(f"{split}_32x32.mat" for split in SPLITS)
SUMS = {
    73_257: "e26dedcc434d2e4c54c9b2d4a06d8373",
    26_032: "eb5a983be6a315427106f1b164d9cef3",
}
"""MD5 sum of a published MAT-file by its number of images."""
FORMAT_1 = ("digitStruct.mat", "train.tar.gz", "test.tar.gz")


def svhn(
    *,
    root: str,
    size: int | None = None,
    test_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> DataBundle:
    """Return SVHN's cropped digits or a stratified part of them; a class is a digit.

    Reference: Netzer et al., "Reading digits in natural images with unsupervised feature learning",
    2011, http://ufldl.stanford.edu/housenumbers.

    Args:
        root: folder of `train.parquet` and `test.parquet`, or of the published `train_32x32.mat`
            and `test_32x32.mat`, whose label 10 is the digit 0; `~` is the home folder.
        size: images in D and V together; all 73,257 by default.
        test_size: images in T, at least 1; all 26,032 by default.
        valid_fraction: share of D and V in V, in [0, 1).
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not SVHN, or has too few images; or a MAT-file has
            all images, but not the published MD5 sum.
        UnsafeError: a column could run code, an image has more than 50 megapixels, or a MAT-file
            has more than 512 MiB.
    """
    check_size(test_size)
    place = Path(root).expanduser()
    found = [name for name in FILES if (place / name).exists()]
    if found:
        missing = [name for name in FILES if name not in found]
        if missing:
            raise DataError(f"{place} lacks {first_ten(missing)}. Add the file to the folder.")
        train = _open_mat(place / FILES[0], None)
        sources = train, _open_mat(place / FILES[1], train)
    else:
        _refuse_format_1(place)
        files = find_parquet(place, SVHN.title, f", or {' and '.join(FILES)}")
        sources = open_parquet_splits(files, "label", SVHN.title)
    return SVHN.bundle(
        sources, size=size, test_size=test_size, valid_fraction=valid_fraction, seed=seed
    )


def _refuse_format_1(place: Path) -> None:
    """Raise DataError for the images of whole house numbers."""
    whole = [name for name in FORMAT_1 if (place / name).exists()]
    if whole and not (place / "train.parquet").exists():
        raise DataError(
            f"{place / whole[0]} belongs to format 1 of SVHN, images of whole house numbers. Give "
            f"the cropped digits of format 2: {' and '.join(FILES)}."
        )


def _open_mat(path: Path, like: Source | None) -> Source:
    """Return the source of a MAT-file of format 2."""
    arrays = read_mat(path, ("X", "y"))
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise DataError(
            f"{path} is not SVHN of format 2: it lacks the arrays {first_ten(missing)}."
        )
    x, y = arrays["X"], arrays["y"].reshape(-1)
    if x.dtype != np.uint8 or x.shape != (*SVHN.shape[1:], SVHN.shape[0], len(y)):
        raise DataError(
            f"{path} is not SVHN of format 2: X has type {x.dtype} and shape {x.shape}, not uint8 "
            f"and (32, 32, 3, {len(y)}) for {len(y)} labels."
        )
    wrong = np.flatnonzero(~np.isin(y, np.arange(1, 11)))
    if len(wrong):
        raise DataError(
            f"image {wrong[0]} of {path} has label {y[wrong[0]]}; labels must be 1 .. 10, where 10 "
            f"is the digit 0."
        )
    expected = SUMS.get(len(y))
    if expected is not None:
        found = hashlib.md5(read_file(path), usedforsecurity=False).hexdigest()
        if found != expected:
            raise DataError(
                f"{path} has the MD5 sum {found}, but the published file has {expected}: it is "
                f"damaged or was written again. Get it again."
            )
    pixels = x.transpose(3, 2, 0, 1)
    return raw_source(path, pixels, y % 10, DIGITS, like)
