"""Your own images: Parquet files with image bytes, or a folder with one sub-folder per class.

The files are untrusted, so no code in them is run. Only plain Arrow types are converted (an
extension type may unpickle objects), and only bitmap formats are decoded, up to 50 megapixels.
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
from rum_ray.data.parquet import as_data_error, read_images, read_labels
from rum_ray.data.pixels import Encoded, decode_pixels
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError
from rum_ray.seeding import Seed


@dataclass(frozen=True, eq=False)
class Source:
    """Encoded images and their labels, in a fixed order.

    Attributes:
        path: file or folder, for messages.
        y: [N] labels, int64, in 0 .. K - 1.
        class_names: [K] names of the classes.
        encoded: function from rows to encoded images.
    """

    path: Path
    y: Tensor
    class_names: tuple[str, ...]
    encoded: Encoded


def images(*, train: str, test: str, valid_fraction: float = 0.1, seed: int = 0) -> DataBundle:
    """Return your own images, with V as a stratified part of the training images.

    A source is a Parquet file, a folder of Parquet files, or a folder with one sub-folder per
    class. A Parquet file has an image column and a label column `label` of text or of integers
    0 .. K - 1. All images have one size. They have 1 channel if all are grey, else 3 (RGB). `ids`
    are row numbers in the order of the sorted files. Text labels are classes in sorted order. The
    metadata `classes` of the Parquet schema, a JSON list, names integer labels. The mean and the
    standard deviation of D normalise the inputs.

    Args:
        train: path of D and V; `~` is the home folder.
        test: path of T.
        valid_fraction: share of the training images in V, in [0, 1); only a search and the proxy
            `heldout` need V.
        seed: seed of the split into D and V.

    Raises:
        ConfigError: `valid_fraction` leaves D or V empty.
        DataError: a source is missing, damaged, or not as described above.
        UnsafeError: a column could run code, or an image has more than 50 megapixels.
    """
    train_source, test_source = open_source(train), open_source(test)
    d, v = split_train(train_source, len(train_source.y), valid_fraction, seed)
    rows = (d, v, np.arange(len(test_source.y)))
    return assemble("images", train_source, test_source, rows)


def split_train(
    source: Source, total: int, valid_fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Return the rows of D and V, both stratified; together they have `total` rows."""
    valid = round(total * valid_fraction) if 0 <= valid_fraction < 1 else 0
    if not 0 <= valid_fraction < 1 or (valid_fraction > 0 and not 0 < valid < total):
        raise ConfigError(
            f"a validation fraction of {valid_fraction:g} of {total} training images leaves "
            f"training or validation without images. Use 0, or at least {1 / total:.2g} and "
            f"below 1."
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
    """Decode D and V from `train` and T from `test`; other rows are not decoded.

    Args:
        name: name of the bundle.
        train: source of D and V.
        test: source of T.
        rows: rows of D, V and T.
        normalization: mean and standard deviation per channel; those of D by default.
    """
    if train.class_names != test.class_names:
        only = sorted(set(train.class_names) ^ set(test.class_names))
        raise DataError(
            f"{train.path} has {len(train.class_names)} classes, {test.path} has "
            f"{len(test.class_names)}; they differ in {', '.join(only[:5]) or 'their order'}. "
            f"Training and test images must have the same classes. Correct the labels of one."
        )
    used = np.union1d(rows[0], rows[1])
    d_and_v, t = decode(train, used), decode(test, rows[2])
    if d_and_v.shape != t.shape:
        raise DataError(
            f"images of {train.path} have (channels, height, width) {d_and_v.shape}, but images "
            f"of {test.path} have {t.shape}. Convert one of them to the shape of the other."
        )
    d, v = (d_and_v.take(np.searchsorted(used, part)) for part in rows[:2])
    mean, std = normalization or _mean_std(d.x)
    d, v, t = (replace(part, mean=mean, std=std) for part in (d, v, t))
    return DataBundle(name, train=d, valid=v, test=t, class_names=train.class_names)


def open_source(path: str | Path) -> Source:
    """Open a source of images: read and check the labels, decode nothing.

    Args:
        path: a Parquet file, a folder of Parquet files, or a folder with one sub-folder per class;
            see `images`.

    Raises:
        DataError: the path does not exist, or the labels are not as `images` describes.
        UnsafeError: a column could run code.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("L", (8, 8)).save(Path(folder) / name / "1.png")
        ...     source = open_source(folder)
        >>> source.class_names, source.y.tolist()
        (('cat', 'dog'), [0, 1])
    """
    root = Path(path).expanduser()
    layouts = "a Parquet file, a folder of .parquet files, or a folder with a sub-folder per class"
    if not root.exists():
        raise DataError(f"data not found: {root}. Give the path of {layouts}.")
    if root.is_file():
        return _open_parquet(root, [root])
    entries = _visible_entries(root)
    if files := [entry for entry in entries if entry.suffix == ".parquet"]:
        return _open_parquet(root, files)
    if folders := [entry for entry in entries if entry.is_dir()]:
        return _open_folders(root, folders)
    raise DataError(f"no images in {root}: no .parquet file and no sub-folder. Give {layouts}.")


def _visible_entries(folder: Path) -> list[Path]:
    """Return the sorted entries of a folder without hidden ones."""
    with as_data_error(folder):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _open_folders(root: Path, folders: Sequence[Path]) -> Source:
    """Return the source of class folders; every visible file in them is an image."""
    files = [
        (file, label) for label, folder in enumerate(folders) for file in _visible_entries(folder)
    ]
    y = np.array([label for _, label in files], dtype=np.int64)
    names = tuple(folder.name for folder in folders)
    _check_labels(y, names, root)

    def encoded(rows: Indices) -> Iterator[tuple[str, bytes | None]]:
        for row in rows:
            file = files[row][0]
            with as_data_error(file):
                data = file.read_bytes()
            yield str(file), data

    return Source(root, torch.from_numpy(y), names, encoded)


def _open_parquet(root: Path, files: Sequence[Path]) -> Source:
    """Return the source of Parquet files, in that order."""
    y, names, image = read_labels(files)
    _check_labels(y, names, root)
    return Source(root, torch.from_numpy(y), names, partial(read_images, files, image))


def _check_labels(y: NDArray[np.int64], names: tuple[str, ...], where: Path) -> None:
    """Refuse labels outside 0 .. K - 1, classes without images, and a single class."""
    if len(names) < 2:
        raise DataError(
            f"{where} has {len(y)} images in {len(names)} classes; at least 2 classes are "
            f"required. Add images of another class."
        )
    wrong = np.flatnonzero((y < 0) | (y >= len(names)))
    if len(wrong):
        raise DataError(
            f"row {wrong[0]} of {where} has label {y[wrong[0]]}; with {len(names)} classes, labels "
            f"must be 0 .. {len(names) - 1}. Renumber them."
        )
    missing = np.setdiff1d(np.arange(len(names)), y)
    if len(missing):
        raise DataError(
            f"class {missing[0]} ('{names[missing[0]]}') of {where} has no images. "
            f"Add images, or remove the class."
        )


def decode(source: Source, rows: Indices) -> LabeledData:
    """Return the decoded examples at sorted rows; see `decode_pixels`."""
    x = decode_pixels(source.encoded, rows)
    return LabeledData(x, source.y[rows], ids=rows, num_classes=len(source.class_names))


def _mean_std(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 [N, C, H, W], scaled to [0, 1]."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([channel.flatten().bincount(minlength=256) for channel in x.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(1).sqrt()
    # A constant channel has deviation 0; it is not divided.
    return tuple(mean.tolist()), tuple(s or 1.0 for s in std.tolist())
