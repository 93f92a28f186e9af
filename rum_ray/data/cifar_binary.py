"""The binary version of CIFAR-100: an archive, or its folder.

A record has 3,074 bytes: the coarse label, the fine label, and the red, green and blue pixels, row
by row. The archive is read in memory, nothing is unpacked.
"""

import hashlib
import io
import logging
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from rum_ray.data.parquet import as_data_error
from rum_ray.data.published import MOST_BYTES, raw_source, read_file
from rum_ray.data.source import Source
from rum_ray.errors import DataError, UnsafeError, first_ten

ARCHIVE, FOLDER = "cifar-100-binary.tar.gz", "cifar-100-binary"
IMAGES = ("train.bin", "test.bin")
COUNTS = (50_000, 10_000)
MD5 = "03b5dce01913d631647c71ecec9e9cb8"
"""MD5 sum of the archive, as on its page."""
PIXELS = 3 * 32 * 32
GZIP = 16 + zlib.MAX_WBITS
CLASSES = {"coarse": 20, "fine": 100}
"""Number of classes by the kind of label, in the order of the labels in a record."""
_PYTHON = ("cifar-100-python", "cifar-100-python.tar.gz", "meta")


def find_binary(root: Path) -> Path | None:
    """Return the archive or the folder of the binary version; None if there is none.

    Raises:
        DataError: there is another version only, whose files could run code.
    """
    if root.is_file():
        return root
    for folder in (root, root / FOLDER):
        if any((folder / name).exists() for name in IMAGES):
            return folder
    if (root / ARCHIVE).exists():
        return root / ARCHIVE
    python = [name for name in _PYTHON if (root / name).exists()]
    if python and not (root / "train.parquet").exists():
        raise DataError(
            f"{root / python[0]} belongs to the Python version of CIFAR-100, whose files could run "
            f"code. Give the binary version {ARCHIVE}, or Parquet files."
        )
    return None


def open_binary(place: Path, labels: str) -> tuple[Source, Source]:
    """Return the sources of training and test images.

    Args:
        place: the archive, or the folder.
        labels: "fine" or "coarse".

    Raises:
        DataError: a file is missing, truncated or damaged, or the archive is complete and does not
            have the published MD5 sum.
        UnsafeError: the archive has more than 512 MiB.
    """
    listed = f"{labels}_label_names.txt"
    wanted = (*IMAGES, listed)
    contents = _folder(place, wanted) if place.is_dir() else _archive(place, wanted)
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise DataError(
            f"{place} is not the whole binary version of CIFAR-100: it lacks {first_ten(missing)}. "
            f"Get or unpack {ARCHIVE} again."
        )
    names = tuple(contents[listed].decode("utf-8", "replace").split())
    if len(names) != CLASSES[labels]:
        raise DataError(
            f"{listed} of {place} has {len(names)} names, not {CLASSES[labels]}. Get or unpack "
            f"{ARCHIVE} again."
        )
    column, sources = [*CLASSES].index(labels), list[Source]()
    for name in IMAGES:
        path = place / name
        records = _records(contents[name], path)
        pixels = records[:, len(CLASSES) :].reshape(-1, 3, 32, 32)
        like = sources[0] if sources else None
        sources.append(raw_source(path, pixels, records[:, column], names, like))
    _check_sum(place, (len(sources[0].y), len(sources[1].y)))
    return sources[0], sources[1]


def _records(content: bytes, path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the records of a file, uint8 [N, 3074]."""
    size = len(CLASSES) + PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{path} has {len(content):,} bytes, not a multiple of {size:,}, the size of a record: "
            f"it is truncated or has another format. Get or unpack {ARCHIVE} again."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def _folder(folder: Path, wanted: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the content of those files that the folder has."""
    return {name: read_file(folder / name) for name in wanted if (folder / name).exists()}


def _archive(path: Path, wanted: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the content of those files that the archive has, in whatever folder."""
    packed = read_file(path)
    with as_data_error(path, f"read as {ARCHIVE}"):
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


def _check_sum(place: Path, counts: tuple[int, int]) -> None:
    """Compare the MD5 sum of a complete archive with the published one; tell if it is a part."""
    if counts != COUNTS:
        logging.getLogger("rum_ray").warning(
            "%s has %d training and %d test images, not %d and %d: it is a part of CIFAR-100.",
            *(place, *counts, *COUNTS),
        )
    elif place.is_file():
        found = hashlib.md5(read_file(place), usedforsecurity=False).hexdigest()
        if found != MD5:
            raise DataError(
                f"{place} has the MD5 sum {found}, but the published archive has {MD5}: it is "
                f"damaged or was packed again. Get it again, or give the unpacked folder."
            )
