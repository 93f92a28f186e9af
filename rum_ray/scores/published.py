"""Published memorization scores: `.npz` files of NumPy, as their authors publish them.

Feldman and Zhang, "What neural networks memorize and why", NeurIPS 2020,
https://pluskid.github.io/influence-memorization: `cifar100_infl_matrix.npz` has `tr_mem` and
`tr_labels` in the order of the training images; `imagenet_index.npz` has `tr_filenames`, too. The
scores of CIFAR-10 by the authors of RUM have `memorization` alone.

The files are untrusted. An array is read only if its header fits its size, and nothing is
unpickled: file names in an array of objects are taken from the text of the pickle.
"""

import contextlib
import io
import logging
import math
import pickletools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rum_ray.data.bundle import LabeledData
from rum_ray.data.parquet import as_data_error
from rum_ray.errors import ScoreError, UnsafeError, first_ten
from rum_ray.files import open_regular
from rum_ray.scores.base import Scores

NAME = "memorization"
VALUES = ("tr_mem", "memorization")
LABELS, FILES = "tr_labels", "tr_filenames"
MOST_BYTES = 2**28
"""Largest array that is read; that of the 1.28 million file names of ImageNet has 40 MB."""
PHOTO = ".JPEG"


def read_published(path: Path, examples: LabeledData) -> Scores:
    """Return the published scores of examples; NaN for an example that a file with names lacks.

    The labels in the file must be those of the examples. In a file with names of files, classes may
    have other numbers; elsewhere a label belongs to the row with that id.

    Args:
        path: the `.npz` file.
        examples: the training set.

    Raises:
        DataError: the file is missing or damaged.
        ScoreError: the file has no scores, or labels of another order or number.
        UnsafeError: an array has more than 256 MiB.
    """
    with _opened(path) as archive:
        known = {name.removesuffix(".npy") for name in archive.namelist()}
        key = next((name for name in VALUES if name in known), None)
        if key is None:
            raise ScoreError(
                f"{path} has no published scores: it lacks {first_ten(VALUES)}. Its arrays are "
                f"{first_ten(sorted(known))}."
            )
        values = _numbers(archive, key, path).astype(np.float64)
        labels = _numbers(archive, LABELS, path) if LABELS in known else None
        files = _names(archive, path) if FILES in known else None
    for name, array in ((LABELS, labels), (FILES, files)):
        if array is not None and len(array) != len(values):
            raise ScoreError(
                f"{path} has {len(values):,} values of '{key}', but {len(array):,} of '{name}'. "
                f"Get the file again."
            )
    if files is not None:
        found = _by_name(path, files, examples)
        _check_same_classes(path, found, labels, examples)
    else:
        found = _by_row(path, len(values), labels, examples)
    return Scores(np.where(found >= 0, values[found], np.nan), name=NAME)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive; its errors become a DataError."""
    with as_data_error(path, "read as an .npz file"):
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ValueError(f"{error}.") from error


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[tuple[int, ...], Any, bytes]:
    """Return shape, type and content of an array; nothing is converted."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > MOST_BYTES:
        raise UnsafeError(f"'{name}' of {path} is refused: it has more than 256 MiB.")
    with archive.open(member) as stream:
        content = io.BytesIO(stream.read())
    version = npy.read_magic(content)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"'{name}' has version {version} of the format.")
    shape, _, dtype = read(content)
    return shape, dtype, content.read()


def _numbers(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    """Return a vector of numbers."""
    shape, dtype, content = _array(archive, name, path)
    if len(shape) != 1 or dtype.kind not in "iuf":
        raise ScoreError(
            f"'{name}' of {path} must be a vector of numbers; it is {dtype} of shape {shape}."
        )
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"'{name}' is truncated.")
    return np.frombuffer(content, dtype)


def _names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Return the names of files, without folders: texts, bytes, or texts and bytes in a pickle."""
    shape, dtype, content = _array(archive, FILES, path)
    if dtype.kind == "O":
        # The operations of a pickle are listed, not executed.
        texts = (value for _, value, _ in pickletools.genops(content))
        named = [text for text in texts if isinstance(text, str | bytes)]
        names = [_text(text) for text in named if _text(text).endswith(PHOTO)]
    elif dtype.kind in "SU" and math.prod(shape) * dtype.itemsize == len(content):
        names = [_text(text) for text in np.frombuffer(content, dtype).tolist()]
    else:
        raise ValueError(f"'{FILES}' has type {dtype}, or is truncated.")
    return [PurePosixPath(name).name for name in names]


def _text(name: str | bytes) -> str:
    """Return a name as text."""
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _by_row(
    path: Path, total: int, labels: NDArray[Any] | None, examples: LabeledData
) -> NDArray[np.int64]:
    """Return the place of each example: its id, which is its row in the source."""
    rows, last = examples.ids, int(examples.ids.max(initial=0))
    if last >= total:
        raise ScoreError(
            f"{path} has {total:,} scores, but ids of the training set go up to {last:,}. The file "
            f"is of another data set or split; its scores must be in the order of the source."
        )
    if labels is None:
        logging.getLogger("rum_ray").warning(
            "%s has no labels, so the order of its %d scores cannot be verified: score n is that "
            "of the example with id n.",
            *(path, total),
        )
        return rows
    wrong = np.flatnonzero(labels[rows] != examples.y.numpy())
    if len(wrong):
        row = rows[wrong[0]]
        raise ScoreError(
            f"the labels in {path} are not those of the training set: {len(wrong):,} of "
            f"{len(rows):,} differ, first that of id {row}, which is {labels[row]} in the file and "
            f"{examples.y[wrong[0]]} in the data. The data set, the order of its examples or the "
            f"order of its classes is another one."
        )
    return rows


def _by_name(path: Path, files: list[str], examples: LabeledData) -> NDArray[np.int64]:
    """Return the place of each example in the file, by the name of its file; -1 if it has none."""
    if examples.names is None:
        raise ScoreError(
            f"{path} has scores by the name of a file, but the examples have row numbers only. "
            f"Read the images from folders of classes, or name a column in data.id."
        )
    place = {name: at for at, name in enumerate(files)}
    own = [PurePosixPath(str(name)).name for name in examples.names.values]
    found = np.array([place.get(name, -1) for name in own], dtype=np.int64)
    if not (found >= 0).any():
        raise ScoreError(
            f"{path} has no score of a training example: their files are {first_ten(own[:3])}, "
            f"those of the scores {first_ten(files[:3])}."
        )
    return found


def _check_same_classes(
    path: Path, found: NDArray[np.int64], labels: NDArray[Any] | None, examples: LabeledData
) -> None:
    """Raise ScoreError unless each class of the file is one class of the examples."""
    if labels is None:
        return
    known = found >= 0
    pairs = np.unique(np.stack([labels[found[known]], examples.y.numpy()[known]]), axis=1)
    for side, other in (pairs, pairs[::-1]):
        values, counts = np.unique(side, return_counts=True)
        if (counts > 1).any():
            value = values[counts > 1][0]
            raise ScoreError(
                f"the labels in {path} are not those of the training set: class {value} of one is "
                f"classes {first_ten(other[side == value], quote='')} of the other."
            )
