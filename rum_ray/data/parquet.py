"""Labels and image bytes from untrusted Parquet files.

Only columns of plain types are converted. An extension type may unpickle objects; Ray registers
such a type.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError, UnsafeError

EXTENSION = b"ARROW:extension:name"


class Columns(NamedTuple):
    """Columns and class names; all files of one data set must have the same ones.

    Attributes:
        image: name of the image column.
        label: name of the label column.
        text: True for text labels, False for integers.
        class_names: names in the metadata `classes`, or empty.
    """

    image: str
    label: str
    text: bool
    class_names: tuple[str, ...]


@contextlib.contextmanager
def as_data_error(path: Path, verb: str = "read") -> Iterator[None]:
    """Turn errors of libraries about a file into a `DataError` with its path."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be {verb}: {reason} Replace or remove the file.") from error


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose columns all have plain types.

    Raises:
        DataError: the file is empty, truncated, damaged, or not a Parquet file.
        UnsafeError: a column has another type; nothing was converted.
    """
    with as_data_error(path, "read as a Parquet file"):
        if not path.stat().st_size:
            raise DataError(f"{path} is empty (0 bytes). Replace or remove the file.")
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for field in parquet.schema_arrow:
                if unsafe := _unsafe_type(field):
                    raise UnsafeError(
                        f"column '{field.name}' of {path} is refused: type {unsafe} may run code. "
                        f"Safe types are int, float, bool, string, binary, and struct of these. "
                        f"Write the file without that column."
                    )
            yield parquet


def read_labels(files: Sequence[Path]) -> tuple[NDArray[np.int64], tuple[str, ...], str]:
    """Return labels [N], class names [K] and the name of the image column.

    A text label becomes its index among the sorted classes. Integers stay unchanged.

    Args:
        files: Parquet files with the same columns; rows are numbered across them in order.

    Raises:
        DataError: columns are missing, ambiguous or of a wrong type; a label is null.
        UnsafeError: a column has a type that could run code.
    """
    labels: list[Any] = []
    first: Columns | None = None
    for file in files:
        with open_parquet(file) as parquet:
            columns = _columns(parquet.schema_arrow, file)
            values = parquet.read([columns.label]).column(columns.label)
            if values.null_count:
                row = values.is_null().index(True).as_py()
                raise DataError(
                    f"row {row} of {file} has no label (null). Label the row, or remove it."
                )
            labels.append(
                values.to_pylist() if columns.text else values.cast(pa.int64()).to_numpy()
            )
        first = first or columns
        if columns != first:
            raise DataError(
                f"{file} has {columns}, but {files[0]} has {first}. All files of a folder must "
                f"have the same columns."
            )
    assert first is not None
    if first.text:
        texts, y = np.unique(np.concatenate(labels), return_inverse=True)
        return y.astype(np.int64), tuple(map(str, texts)), first.image
    y = np.concatenate(labels).astype(np.int64)
    names = first.class_names or tuple(map(str, range(len(np.unique(y)))))
    return y, names, first.image


def read_images(
    files: Sequence[Path], column: str, rows: Indices
) -> Iterator[tuple[str, bytes | None]]:
    """Yield the place and the bytes of each image, for sorted rows.

    Row groups without any of the rows are not read.
    """
    end = 0
    for file in files:
        begin = end
        with open_parquet(file) as parquet:
            for group in range(parquet.num_row_groups):
                start, end = end, end + parquet.metadata.row_group(group).num_rows
                in_group = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
                for row, image in _read_row_group(parquet, group, column, in_group - start):
                    yield f"row {row + start - begin} of {file}", image


def _read_row_group(
    parquet: pq.ParquetFile, group: int, column: str, rows: Indices
) -> Iterator[tuple[int, bytes | None]]:
    """Yield rows of a row group and their image bytes; memory holds one batch at a time."""
    if not len(rows):
        return
    end = 0
    for batch in parquet.iter_batches(batch_size=1000, row_groups=[group], columns=[column]):
        values = batch.column(column)
        if pa.types.is_struct(values.type):
            values = pc.struct_field(values, "bytes")
        start, end = end, end + len(values)
        for row in rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]:
            yield row, values[row - start].as_py()
        if end > rows[-1]:
            return


def _unsafe_type(field: pa.Field) -> str:
    """Return the first type in a column that is not plain, or an empty string."""
    # An extension type that is not registered looks like its storage type.
    name: bytes | None = (field.metadata or {}).get(EXTENSION)
    if name is not None:
        return name.decode(errors="replace") or "unnamed extension"
    if pa.types.is_struct(field.type):
        return next(filter(None, map(_unsafe_type, field.type)), "")
    t = pa.types
    plain = (t.is_null, t.is_boolean, t.is_integer, t.is_floating, _is_text, _is_binary)
    return "" if any(is_type(field.type) for is_type in plain) else str(field.type)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _columns(schema: pa.Schema, path: Path) -> Columns:
    """Return the image column, the label column and the class names of a file."""
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
    images = [field for field in schema if _is_image(field.type)]
    rest = [field for field in schema if not _is_image(field.type)]
    labels = (
        [field for field in rest if field.name == "label"]
        or [field for field in rest if field.name == "labels"]
        or [field for field in rest if _is_text(field.type) or pa.types.is_integer(field.type)]
    )
    if len(images) != 1:
        raise DataError(
            f"{path} has {len(images)} image columns (binary, or a struct with binary 'bytes'); "
            f"exactly one is required. Columns: {listed}. Remove or convert columns."
        )
    if len(labels) != 1:
        raise DataError(
            f"{path} has {len(labels)} possible label columns; exactly one is required, or one "
            f"named 'label'. Columns: {listed}. Rename or remove columns."
        )
    [image], [label] = images, labels
    if not (_is_text(label.type) or pa.types.is_integer(label.type)):
        raise DataError(
            f"labels must be integers or text, but column '{label.name}' of {path} has type "
            f"{label.type}. Cast the column."
        )
    return Columns(image.name, label.name, _is_text(label.type), _class_names(schema, path))


def _class_names(schema: pa.Schema, path: Path) -> tuple[str, ...]:
    """Return the class names in the metadata `classes`; empty if there are none."""
    metadata = (schema.metadata or {}).get(b"classes", b"[]")
    with as_data_error(path, "searched for metadata 'classes'"):
        names = json.loads(metadata)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"metadata 'classes' of {path} must be a JSON list of names, got {metadata[:80]}."
        )
    return tuple(names)
