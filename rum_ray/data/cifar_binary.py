"""The binary versions of CIFAR-10 and CIFAR-100: an archive, or its folder.

A record is one byte per kind of label, then the red, green and blue pixels, row by row. The archive
is read in memory, nothing is unpacked. Row numbers are places in the published order, which is also
that of the Python version; Parquet files may have another one.
"""

import hashlib
import io
import logging
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from rum_ray.data.parquet import as_data_error
from rum_ray.data.published import MOST_BYTES, raw_source, read_file
from rum_ray.data.source import Source
from rum_ray.errors import DataError, UnsafeError, first_ten


@dataclass(frozen=True)
class Version:
    """The binary version of a data set.

    Attributes:
        title: name of the data set.
        archive: name of the archive.
        folder: name of the folder in it.
        train: names of the files of training images, in order.
        test: name of the file of test images.
        labels: number of classes and file of their names, by kind of label, in the order of the
            labels in a record.
        python: names of the Python version, whose files could run code.
    """

    title: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: Mapping[str, tuple[int, str]]
    python: tuple[str, ...]


CIFAR10 = Version(
    "CIFAR-10",
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test_batch.bin",
    {"label": (10, "batches.meta.txt")},
    ("cifar-10-batches-py", "cifar-10-python.tar.gz", "batches.meta"),
)
CIFAR100 = Version(
    "CIFAR-100",
    "cifar-100-binary.tar.gz",
    "cifar-100-binary",
    ("train.bin",),
    "test.bin",
    {"coarse": (20, "coarse_label_names.txt"), "fine": (100, "fine_label_names.txt")},
    ("cifar-100-python", "cifar-100-python.tar.gz", "meta"),
)
COUNTS = (50_000, 10_000)
MD5 = {
    "CIFAR-10": "c32a1d4ab5d03f1284b67883e8d87530",
    "CIFAR-100": "03b5dce01913d631647c71ecec9e9cb8",
}
"""MD5 sums of the archives, as on their page."""
PIXELS = 3 * 32 * 32
GZIP = 16 + zlib.MAX_WBITS


def find_binary(root: Path, version: Version) -> Path | None:
    """Return the archive or the folder of the binary version; None if there is none.

    Raises:
        DataError: there is another version only, whose files could run code.
    """
    if root.is_file():
        return root
    for folder in (root, root / version.folder):
        if any((folder / name).exists() for name in (*version.train, version.test)):
            return folder
    if (root / version.archive).exists():
        return root / version.archive
    python = [name for name in version.python if (root / name).exists()]
    if python and not (root / "train.parquet").exists():
        raise DataError(
            f"{root / python[0]} belongs to the Python version of {version.title}, whose files "
            f"could run code. Give the binary version {version.archive}, or Parquet files."
        )
    return None


def open_binary(place: Path, version: Version, labels: str) -> tuple[Source, Source]:
    """Return the sources of training and test images.

    Args:
        place: the archive, or the folder.
        version: the data set.
        labels: a kind of label.

    Raises:
        DataError: a file is missing, truncated or damaged, or the archive is complete and does not
            have the published MD5 sum.
        UnsafeError: the archive has more than 512 MiB.
    """
    classes, listed = version.labels[labels]
    wanted = (*version.train, version.test, listed)
    contents = _folder(place, wanted) if place.is_dir() else _archive(place, version, wanted)
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise DataError(
            f"{place} is not the whole binary version of {version.title}: it lacks "
            f"{first_ten(missing)}. Get or unpack {version.archive} again."
        )
    names = tuple(contents[listed].decode("utf-8", "replace").split())
    if len(names) != classes:
        raise DataError(
            f"{listed} of {place} has {len(names)} names, not {classes}. Get or unpack "
            f"{version.archive} again."
        )
    column, sources = [*version.labels].index(labels), list[Source]()
    for files in (version.train, (version.test,)):
        records = np.concatenate([_records(contents[n], place / n, version) for n in files])
        pixels = records[:, len(version.labels) :].reshape(-1, 3, 32, 32)
        like = sources[0] if sources else None
        path = place / files[0] if len(files) == 1 else place
        sources.append(raw_source(path, pixels, records[:, column], names, like))
    _check_sum(place, version, (len(sources[0].y), len(sources[1].y)))
    return sources[0], sources[1]


def _records(
    content: bytes, path: Path, version: Version
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the records of a file, uint8 [N, labels and pixels]."""
    size = len(version.labels) + PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{path} has {len(content):,} bytes, not a multiple of {size:,}, the size of a record: "
            f"it is truncated or has another format. Get or unpack {version.archive} again."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def _folder(folder: Path, wanted: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the content of those files that the folder has."""
    return {name: read_file(folder / name) for name in wanted if (folder / name).exists()}


def _archive(path: Path, version: Version, wanted: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the content of those files that the archive has, in whatever folder."""
    packed = read_file(path)
    with as_data_error(path, f"read as {version.archive}"):
        try:
            inflater = zlib.decompressobj(GZIP)
            plain = inflater.decompress(packed, MOST_BYTES)
            if inflater.unconsumed_tail:
                raise UnsafeError(f"{path} is refused: unpacked, it has more than 512 MiB.")
            if not inflater.eof:
                raise ValueError("it is truncated.")
            with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
                files = {PurePosixPath(m.name).name: m for m in archive if m.isreg()}
                found = {name: archive.extractfile(files[name]) for name in wanted if name in files}
                return {name: file.read() for name, file in found.items() if file is not None}
        except (zlib.error, tarfile.TarError) as error:
            raise ValueError(f"{error}.") from error


def _check_sum(place: Path, version: Version, counts: tuple[int, int]) -> None:
    """Compare the MD5 sum of a complete archive with the published one; tell if it is a part."""
    if counts != COUNTS:
        logging.getLogger("rum_ray").warning(
            "%s has %d training and %d test images, not %d and %d: it is a part of %s.",
            *(place, *counts, *COUNTS, version.title),
        )
    elif place.is_file():
        found = hashlib.md5(read_file(place), usedforsecurity=False).hexdigest()
        if found != MD5[version.title]:
            raise DataError(
                f"{place} has the MD5 sum {found}, but the published archive has "
                f"{MD5[version.title]}: it is damaged or was packed again. Get it again, or give "
                "the unpacked folder."
            )
