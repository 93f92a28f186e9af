"""Tiny-ImageNet: 110,000 labelled photos of 64 x 64 pixels in 200 classes.

Le and Yang, "Tiny ImageNet visual recognition challenge", 2015,
http://cs231n.stanford.edu/tiny-imagenet-200.zip, as its archive unpacks. Some photos are grey; they
become RGB. The images of `test/` have no labels, so T is the labelled part `val/`.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.data.classes import check_labels
from rum_ray.data.ids import Names
from rum_ray.data.parquet import as_data_error
from rum_ray.data.pixels import Layout
from rum_ray.data.published import Form, check_size, read_file
from rum_ray.data.source import Source
from rum_ray.errors import DataError, first_ten

TINY_IMAGENET = Form(
    *("tiny_imagenet", "Tiny-ImageNet", 200, (3, 64, 64)),
    *((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
FOLDER, ARCHIVE = "tiny-imagenet-200", "tiny-imagenet-200.zip"
CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
TRAIN, VAL = "train", "val/images"
MOST_THREADS = 16


def tiny_imagenet(
    *,
    root: str,
    size: int | None = None,
    test_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> DataBundle:
    """Return Tiny-ImageNet or a stratified part of it; T is a part of its labelled `val/`.

    Reference: Le and Yang, "Tiny ImageNet visual recognition challenge", 2015,
    http://cs231n.stanford.edu/tiny-imagenet-200.zip.

    Args:
        root: the folder `tiny-imagenet-200` as the archive unpacks, or the folder around it; `~` is
            the home folder. Ids are paths relative to it, or row numbers in the order of classes
            and files.
        size: images in D and V together; all 100,000 by default.
        test_size: images in T, at least 1; all 10,000 by default.
        valid_fraction: share of D and V in V, in [0, 1).
        seed: seed of the splits.

    Raises:
        ConfigError: a size is too small.
        DataError: a file is missing, damaged, not Tiny-ImageNet, or there are too few images.
        UnsafeError: an image has more than 50 megapixels.
    """
    check_size(test_size)
    place = Path(root).expanduser()
    place = place / FOLDER if (place / FOLDER).is_dir() else place
    _check_layout(place)
    wnids = sorted({line.strip() for line in _lines(place / CLASSES)})
    train = _training(place, wnids)
    return TINY_IMAGENET.bundle(
        (train, _labelled(place, wnids, train)),
        size=size,
        test_size=test_size,
        valid_fraction=valid_fraction,
        seed=seed,
        threads=min(MOST_THREADS, os.cpu_count() or 1),
    )


def _check_layout(root: Path) -> None:
    """Raise DataError unless all files and folders at fixed places are there."""
    missing = [
        name for name in (CLASSES, WORDS, TRAIN, ANNOTATIONS, VAL) if not (root / name).exists()
    ]
    if missing:
        raise DataError(
            f"{root} is not Tiny-ImageNet as it unpacks: it lacks {first_ten(missing)}. `root` "
            f"must be the folder {FOLDER} of {ARCHIVE}, unpacked and not rearranged."
        )


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    text = read_file(path).decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip()]


def _files(folder: Path) -> list[str]:
    """Return the sorted names of the photos in a folder; none if it is missing."""
    if not folder.is_dir():
        return []
    with as_data_error(folder):
        return sorted(file.name for file in folder.iterdir() if file.suffix == ".JPEG")


def _training(root: Path, wnids: Sequence[str]) -> Source:
    """Return the source of the training images, in the order of classes and files."""
    files = {wnid: _files(root / TRAIN / wnid / "images") for wnid in wnids}
    _check_complete(root, files)
    names = [f"{TRAIN}/{wnid}/images/{name}" for wnid in wnids for name in files[wnid]]
    y = np.repeat(np.arange(len(wnids)), [len(files[wnid]) for wnid in wnids])
    check_labels(y, tuple(wnids), root / TRAIN)
    return _source(root, names, y, _titles(root, wnids))


def _check_complete(root: Path, files: dict[str, list[str]]) -> None:
    """Raise DataError if photos of a class are missing; each has as many, numbered from 0."""
    each = max(map(len, files.values()), default=0)
    expected = {wnid: [f"{wnid}_{number}.JPEG" for number in range(each)] for wnid in files}
    missing = [
        f"{TRAIN}/{wnid}/images/{name}"
        for wnid, names in expected.items()
        for name in (names if not files[wnid] else sorted({*names} - {*files[wnid]}))
    ]
    if not each or missing:
        what = f"{len(missing):,} photos are missing: {first_ten(missing)}" if each else "no photos"
        raise DataError(
            f"{root / TRAIN} is not complete: {what}. All classes of {CLASSES} must have the same "
            f"number. Unpack {ARCHIVE} again."
        )


def _labelled(root: Path, wnids: Sequence[str], train: Source) -> Source:
    """Return the source of the labelled images of `val/`, in the order of their annotations."""
    rows = [line.split("\t")[:2] for line in _lines(root / ANNOTATIONS)]
    place = {wnid: at for at, wnid in enumerate(wnids)}
    wrong = [row[0] for row in rows if len(row) < 2 or row[1] not in place]
    if wrong:
        raise DataError(
            f"{root / ANNOTATIONS} gives {first_ten(wrong)} no class of {CLASSES}. Unpack "
            f"{ARCHIVE} again."
        )
    listed, there = [row[0] for row in rows], _files(root / VAL)
    missing = [name for name, count in (Counter(listed) - Counter(there)).items() if count]
    unknown = sorted({*there} - {*listed})
    if missing or unknown:
        kind, names = (
            ("are listed, but missing", missing) if missing else ("have no label", unknown)
        )
        raise DataError(
            f"{len(names):,} photos of {root / VAL} {kind} in {ANNOTATIONS}: {first_ten(names)}. "
            f"Unpack {ARCHIVE} again."
        )
    y = np.array([place[row[1]] for row in rows], dtype=np.int64)
    return _source(root, [f"{VAL}/{name}" for name in listed], y, train.class_names)


def _titles(root: Path, wnids: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes: the first word of each, or its wnid if two have the same."""
    words = dict(line.split("\t", 1) for line in _lines(root / WORDS) if "\t" in line)
    missing = [wnid for wnid in wnids if wnid not in words]
    if missing:
        raise DataError(f"{root / WORDS} lacks {first_ten(missing)}. Unpack {ARCHIVE} again.")
    first = [words[wnid].partition(",")[0].strip() for wnid in wnids]
    counts = Counter(first)
    return tuple(n if counts[n] == 1 else wnid for n, wnid in zip(first, wnids, strict=True))


def _source(
    root: Path, names: Sequence[str], y: NDArray[np.int64], classes: tuple[str, ...]
) -> Source:
    """Return the source of files with their labels."""

    def encoded(rows: Indices) -> Iterator[tuple[str, bytes | None]]:
        for row in rows:
            file = root / names[row]
            yield str(file), read_file(file)

    values = Names(np.array(names, dtype=object))
    return Source(root, torch.from_numpy(y), classes, encoded, Layout(channels=3), names=values)
