"""Your own images: Parquet files with image bytes, or a folder with one sub-folder a class.

The files may come from anywhere, so nothing in them is run: only plain Arrow types are converted
(an extension type may unpickle objects), and only bitmap formats are decoded, up to 50 megapixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rum_ray.data.bundle import DataBundle, Indices, LabeledData
from rum_ray.data.parquet import read_images, read_labels, reading
from rum_ray.data.pixels import Encoded, decode_pixels
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError
from rum_ray.seeding import Seed


@dataclass(frozen=True, eq=False)
class Source:
    """Encoded images and their labels, in a fixed order.

    Attributes:
        path: what messages call it.
        y: [N] labels, int64, in 0 .. K - 1.
        class_names: [K].
        encoded: gives the images.
    """

    path: Path
    y: Tensor
    class_names: tuple[str, ...]
    encoded: Encoded


def images(*, train: str, test: str, valid_fraction: float = 0.1, seed: int = 0) -> DataBundle:
    """Return your own images, with V drawn from the training images, class by class.

    A source is a Parquet file or a folder of them (an image column, and a label column `label` of
    integers 0 .. K - 1 or text), or a folder with one sub-folder a class. Images are all grey
    (1 channel) or else RGB (3), and of one size. `ids` are row numbers in the order of the sorted
    files. Text labels are classes in sorted order; the Parquet schema's metadata `classes`, a
    JSON list, names integer ones. Inputs are normalised by the mean and deviation of D.

    Args:
        train: path of D and V; `~` is the home folder.
        test: path of T.
        valid_fraction: share of the training images that V gets, in [0, 1); only a search and the
            proxy `heldout` need V.
        seed: root of that draw.

    Raises:
        ConfigError: `valid_fraction` leaves D or V empty.
        DataError: a source is missing, damaged, or not as described above.
        UnsafeError: a column could run code, or an image has more than 50 megapixels.
    """
    learned, tested = open_source(train), open_source(test)
    d, v = carve(learned, len(learned.y), valid_fraction, seed)
    return assemble("images", learned, tested, (d, v, np.arange(len(tested.y))))


def carve(source: Source, total: int, valid_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Return the rows of D and of V: `total` together, each with the classes in proportion."""
    valid = round(total * valid_fraction) if 0 <= valid_fraction < 1 else 0
    if not 0 <= valid_fraction < 1 or (valid_fraction > 0 and not 0 < valid < total):
        raise ConfigError(
            f"{valid_fraction:g} of {total} training images for validation leaves training or "
            f"validation without images. Give 0, or a fraction from {1 / total:.2g} below 1."
        )
    d, v = stratified_split(source.y, (total - valid, valid), Seed(seed) / "data")
    return d, v


def assemble(
    name: str,
    train: Source,
    test: Source,
    rows: tuple[Indices, Indices, Indices],
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> DataBundle:
    """Decode D and V from `train`, T from `test`; nothing else is decoded.

    Args:
        name: of the bundle.
        train: source of D and V.
        test: source of T.
        rows: of D, V and T.
        normalization: mean and deviation per channel; those of D by default.
    """
    if train.class_names != test.class_names:
        only = sorted(set(train.class_names) ^ set(test.class_names))
        raise DataError(
            f"{train.path} has {len(train.class_names)} classes, {test.path} has "
            f"{len(test.class_names)}; they differ in {', '.join(only[:5]) or 'their order'}. "
            f"Training and test images must have the same classes: mend the labels of one."
        )
    used = np.union1d(rows[0], rows[1])
    learned, tested = decode(train, used), decode(test, rows[2])
    if learned.shape != tested.shape:
        raise DataError(
            f"images of {train.path} are {learned.shape} (channels, height, width), those of "
            f"{test.path} {tested.shape}. They must agree: convert one of them."
        )
    d, v = (learned.take(np.searchsorted(used, part)) for part in rows[:2])
    mean, std = normalization or _mean_std(d.x)
    d, v, t = (replace(part, mean=mean, std=std) for part in (d, v, tested))
    return DataBundle(name, train=d, valid=v, test=t, class_names=train.class_names)


def open_source(path: str | Path) -> Source:
    """Return the images at `path`, with labels read and checked, and nothing decoded.

    Raises:
        DataError: there is nothing, or labels are not as `images` describes.
        UnsafeError: a column could run code.
    """
    root = Path(path).expanduser()
    layouts = "a Parquet file, a folder of .parquet files, or one with a sub-folder a class"
    if not root.exists():
        raise DataError(f"data not found: {root}. Give the path of {layouts}.")
    if root.is_file():
        return _parquet(root, [root])
    inside = _inside(root)
    if files := [entry for entry in inside if entry.suffix == ".parquet"]:
        return _parquet(root, files)
    if folders := [entry for entry in inside if entry.is_dir()]:
        return _folders(root, folders)
    raise DataError(f"no images in {root}: no .parquet file and no sub-folder. Give {layouts}.")


def _inside(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted, without hidden files."""
    with reading(folder):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _folders(root: Path, folders: Sequence[Path]) -> Source:
    """Return the files of class folders; every file in them is an image."""
    files = [(file, label) for label, folder in enumerate(folders) for file in _inside(folder)]
    y = np.array([label for _, label in files], dtype=np.int64)
    names = tuple(folder.name for folder in folders)
    _check_labels(y, names, root)

    def encoded(rows: Indices) -> Iterator[tuple[str, bytes | None]]:
        for row in rows:
            file = files[row][0]
            with reading(file):
                data = file.read_bytes()
            yield str(file), data

    return Source(root, torch.from_numpy(y), names, encoded)


def _parquet(root: Path, files: Sequence[Path]) -> Source:
    """Return the rows of Parquet files, in that order."""
    y, names, image = read_labels(files)
    _check_labels(y, names, root)
    return Source(root, torch.from_numpy(y), names, partial(read_images, files, image))


def _check_labels(y: NDArray[np.int64], names: tuple[str, ...], where: Path) -> None:
    """Refuse labels outside 0 .. K - 1, classes without images, and a single class."""
    if len(names) < 2:
        raise DataError(
            f"{where} has {len(y)} images in {len(names)} classes; at least 2 classes are needed. "
            f"Add images of another class."
        )
    wrong = np.flatnonzero((y < 0) | (y >= len(names)))
    if len(wrong):
        raise DataError(
            f"row {wrong[0]} of {where} has label {y[wrong[0]]}; labels of {len(names)} classes "
            f"are 0 .. {len(names) - 1}. Renumber them."
        )
    missing = np.setdiff1d(np.arange(len(names)), y)
    if len(missing):
        raise DataError(
            f"class {missing[0]} ('{names[missing[0]]}') of {where} has no images. "
            f"Add some, or drop the class."
        )


def decode(source: Source, rows: Indices) -> LabeledData:
    """Return the examples at sorted rows; see `decode_pixels`."""
    x = decode_pixels(source.encoded, rows)
    return LabeledData(x, source.y[rows], ids=rows, num_classes=len(source.class_names))


def _mean_std(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and deviation over uint8 [N, C, H, W], as numbers in [0, 1]."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in x.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(1).sqrt()
    # A channel that is the same everywhere is only shifted.
    return tuple(mean.tolist()), tuple(s or 1.0 for s in std.tolist())
