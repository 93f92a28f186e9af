"""Sources of images: Parquet files, or a folder with one sub-folder per class.

A Parquet file has an image column and a label column of text, of categories, or of integers
0 .. K - 1. Text labels and folders are classes in sorted order. Integer labels have the names in
the metadata of the schema: a JSON list under `classes`, or those of the library `datasets`. Rows
are numbered in the order of the sorted files. Files in folders have their paths as names.

The files are untrusted, so no code in them is run. Only plain Arrow types are converted (an
extension type may unpickle objects), and only bitmap formats are decoded, up to 50 megapixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rum_ray.data.bundle import Indices
from rum_ray.data.classes import LAYOUTS, Classes, check_alike, indices
from rum_ray.data.ids import Names, canonical
from rum_ray.data.parquet import as_data_error, read_images, read_labels
from rum_ray.data.pixels import MAX_PIXELS, Encoded, Exif, Fit, Images, Layout
from rum_ray.errors import ConfigError, DataError
from rum_ray.files import read_regular

SPLITS = {"train", "test", "val", "valid", "validation"}
"""Names of folders that hold a split, not a class."""
MOST_BYTES = 2**28
"""Largest file of an encoded image; 50 megapixels without compression are smaller."""


@dataclass(frozen=True, eq=False)
class Source:
    """Encoded images and their labels, in a fixed order.

    Attributes:
        path: file or folder, for messages.
        y: [N] labels, int64, in 0 .. K - 1.
        class_names: [K] names of the classes.
        encoded: function from rows to encoded images.
        layout: form of the decoded images.
        names: [N] names of the images; None if they have row numbers only.
        numbered: True if labels are integers in the source, not texts or folders.
    """

    path: Path
    y: Tensor
    class_names: tuple[str, ...]
    encoded: Encoded
    layout: Layout = Layout()  # noqa: RUF009 - an immutable value
    names: Names | None = None
    numbered: bool = False

    @property
    def classes(self) -> Classes:
        """The classes, as this source decides them for another one."""
        return Classes(self.class_names, str(self.path), self.numbered)

    def images(self) -> Images:
        """Return the images, with channels decided once for all of them, from their headers."""
        images = Images(self.encoded, self.layout)
        if self.layout.channels is not None:
            return images
        return replace(images, layout=replace(self.layout, channels=images.channels(len(self.y))))


def make_layout(
    size: int | Sequence[int] | None, fit: Fit = "crop", exif: Exif = "apply"
) -> Layout:
    """Return the form of images of a size; raise ConfigError if a value is out of range."""
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and not (len(sides) == 2 and 0 < min(sides) <= MAX_PIXELS / max(sides)):
        given = size if isinstance(size, int) else list(sides)
        raise ConfigError(
            f"data.size must be pixels per side, or [height, width], at least 1 and at most "
            f"{MAX_PIXELS // 10**6} megapixels; got {given}."
        )
    for key, value, allowed in (
        ("fit", fit, ("crop", "pad", "stretch")),
        ("exif", exif, ("apply", "ignore")),
    ):
        if value not in allowed:
            raise ConfigError(f"data.{key} must be {' or '.join(allowed)}; got '{value}'.")
    return Layout(None if sides is None else (sides[0], sides[1]), fit, exif)


def open_source(
    path: str | Path,
    *,
    size: int | Sequence[int] | None = None,
    fit: Fit = "crop",
    exif: Exif = "apply",
    label: str | None = None,
    id: str | None = None,
    like: Source | Classes | None = None,
) -> Source:
    """Open a source of images: read and check the labels, decode nothing.

    Args:
        path: a Parquet file, a folder of Parquet files, or a folder with one sub-folder per class.
        size: pixels per side, or height and width, of the decoded images.
        fit: how an image fills `size`; see `Layout`.
        exif: "apply" turns an image as its EXIF orientation says; "ignore" leaves it as stored.
        label: Parquet column with the labels.
        id: Parquet column with the names of the images.
        like: the source that decides the classes, or the classes; images of some of them may be
            missing here.

    Raises:
        ConfigError: a column does not exist, or `size`, `fit` or `exif` is out of range.
        DataError: the path does not exist, or the labels are not as described above.
        UnsafeError: a column could run code.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         Image.new("L", (8, 8)).save(Path(folder) / name / "1.png")
        ...     source = open_source(folder)
        >>> source.class_names, source.y.tolist(), source.names.values.tolist()
        (('cat', 'dog'), [0, 1], ['cat/1.png', 'dog/1.png'])
    """
    classes = like.classes if isinstance(like, Source) else like
    source = _open(Path(path).expanduser(), label, id, classes)
    return replace(source, layout=make_layout(size, fit, exif))


def _like(path: Path) -> str:
    """Return a sentence about a path beside a missing one that is equal to the eye, if any."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    alike = [each.name for each in beside if canonical(each.name) == canonical(path.name)]
    return f"{alike[0]!a} is there, whose accents are encoded differently. " if alike else ""


def _open(root: Path, label: str | None, id: str | None, like: Classes | None) -> Source:
    """Return the source at a path, by its kind."""
    if not root.exists():
        raise DataError(f"data not found: {root}. {_like(root)}Give the path of {LAYOUTS}.")
    if root.is_file():
        return open_parquet_files(root, [root], label, id, like)
    entries = _visible_entries(root)
    if files := [entry for entry in entries if entry.suffix == ".parquet"]:
        return open_parquet_files(root, files, label, id, like)
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise DataError(f"no images in {root}: no .parquet file and no sub-folder. Give {LAYOUTS}.")
    if label is not None or id is not None:
        raise ConfigError(
            f"data.{'id' if label is None else 'label'} names a column of Parquet files, but "
            f"{root} is a folder of classes. Remove the key: files have paths as ids."
        )
    return _open_folders(root, folders, like)


def _visible_entries(folder: Path) -> list[Path]:
    """Return the sorted entries of a folder without hidden ones."""
    with as_data_error(folder):
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _open_folders(root: Path, folders: Sequence[Path], like: Classes | None) -> Source:
    """Return the source of class folders; every visible file in them is an image."""
    files = [(file, folder.name) for folder in folders for file in _visible_entries(folder)]
    own = tuple(folder.name for folder in folders)
    if {*own} <= SPLITS and len(own) > 1:
        raise DataError(
            f"{root} has the folders {', '.join(own)}, which are splits, not classes. Give one of "
            f"them, such as {folders[-1]}, with a sub-folder per class."
        )
    check_alike(own, root)
    texts = np.array([name for _, name in files], dtype=object)
    y, names = indices(texts, own, root, like)
    listed = (_as_text(f"{file.parent.name}/{file.name}") for file, _ in files)
    values = np.array([*listed], dtype=object)

    def encoded(rows: Indices) -> Iterator[tuple[str, bytes | None]]:
        for row in rows:
            file = files[row][0]
            with as_data_error(file):
                data = read_regular(file, MOST_BYTES)
            yield str(file), data

    return Source(root, torch.from_numpy(y), names, encoded, names=Names(values))


def _as_text(name: str) -> str:
    """Return the name of a file as text; bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def open_parquet_files(
    root: Path, files: Sequence[Path], label: str | None, id: str | None, like: Classes | None
) -> Source:
    """Return the source of Parquet files, in that order."""
    labels = read_labels(files, label, id)
    columns, values = labels.columns, labels.values
    if columns.text:
        own = tuple(map(str, np.unique(values)))
        check_alike(own, root)
    else:
        own = columns.class_names
    y, names = indices(values, own, root, like)
    ids = None if labels.ids is None else Names(labels.ids, columns.id)
    encoded = partial(read_images, files, columns.image)
    numbered = not columns.text
    return Source(root, torch.from_numpy(y), names, encoded, names=ids, numbered=numbered)
