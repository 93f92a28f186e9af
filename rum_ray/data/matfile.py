"""Numeric arrays from untrusted MAT-files of version 5, the format of MATLAB's `save`.

A file is a header and elements: a type, a number of bytes, the bytes. A matrix is an element of
elements: flags, dimensions, name, values. SciPy's reader trusts these numbers, and a file with a
wrong type ends the process; here each is compared with the bytes that are there.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.parquet import as_data_error
from rum_ray.data.published import MOST_BYTES, read_file
from rum_ray.errors import UnsafeError

HEADER, VERSION = 128, b"\x00\x01IM"
"""Size of the header, and its end."""
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""Types of values by their number in the file."""
_NUMERIC = range(6, 16)
"""Classes of matrices of numbers; others are cells, structures, objects, text and sparse ones."""
_COMPLEX = 0x0800


def read_mat(path: Path, names: Collection[str]) -> Mapping[str, NDArray[Any]]:
    """Return those of the named arrays that a MAT-file has, with the dimensions of MATLAB.

    Raises:
        DataError: the file is missing, truncated, damaged or of another version, or a named array
            has no real numbers.
        UnsafeError: the file has more than 512 MiB when decompressed.
    """
    data = memoryview(read_file(path))
    with as_data_error(path, "read as a MAT-file"):
        if bytes(data[124:HEADER]) != VERSION:
            raise ValueError("it is not a little-endian MAT-file of version 5.")
        try:
            found = {}
            for name, matrix in _matrices(data[HEADER:], path):
                if name in names:
                    found[name] = _values(matrix, name)
            return found
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise ValueError(f"{error}.") from error


def _matrices(data: memoryview, path: Path) -> Iterator[tuple[str, list[tuple[int, memoryview]]]]:
    """Yield the name and the elements of each matrix."""
    left = MOST_BYTES
    for kind, content in _elements(data):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            plain = inflater.decompress(content, left)
            if inflater.unconsumed_tail:
                raise UnsafeError(f"{path} is refused: it has more than 512 MiB when decompressed.")
            if not inflater.eof:
                raise ValueError("a compressed element is truncated.")
            left = max(1, left - len(plain))
            [(kind, content)] = _elements(memoryview(plain))
        if kind == _MATRIX:
            parts = [*_elements(content)]
            if len(parts) < 4:
                raise ValueError("a matrix is truncated.")
            yield bytes(parts[2][1]).decode("ascii"), parts


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the bytes of each element."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        small = kind >> 16
        start, size, kind = (at + 4, small, kind & 0xFFFF) if small else (at + 8, size, kind)
        end = start + size
        if end > (at + 8 if small else len(data)):
            raise ValueError("an element is truncated.")
        yield kind, data[start:end]
        # Elements begin at multiples of 8 bytes, except after a compressed one.
        at = end if kind == _COMPRESSED else end + -end % 8


def _values(parts: list[tuple[int, memoryview]], name: str) -> NDArray[Any]:
    """Return the array of a matrix."""
    (_, flags), (_, dimensions), _, (kind, content) = parts[:4]
    [flag] = struct.unpack_from("<I", flags)
    if flag & 0xFF not in _NUMERIC or flag & _COMPLEX or kind not in _TYPES:
        raise ValueError(f"'{name}' is not an array of real numbers.")
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    dtype = np.dtype(f"<{_TYPES[kind]}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"'{name}' has dimensions {shape}, which do not fit its values.")
    return np.frombuffer(content, dtype).reshape(shape[::-1]).T
