"""Labels and image bytes of Parquet files, which may come from anywhere.

Only columns of plain types are converted: an extension type may unpickle objects, and Ray registers
one that does.
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
    """What the files of one data set have in common.

    Attributes:
        image: name of the image column.
        label: name of the label column.
        text: whether labels are text, not integers.
        class_names: the metadata `classes`, or none.
    """

    image: str
    label: str
    text: bool
    class_names: tuple[str, ...]


@contextlib.contextmanager
def reading(path: Path, verb: str = "read") -> Iterator[None]:
    """Turn what libraries raise about a file into a `DataError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path} cannot be {verb}: {reason} Replace it, or leave it out."
        ) from error


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose columns all have plain types.

    Raises:
        DataError: it is empty, truncated, damaged, or no Parquet file.
        UnsafeError: a column has another type; nothing was converted.
    """
    with reading(path, "read as a Parquet file"):
        if not path.stat().st_size:
            raise DataError(f"{path} is empty (0 bytes). Replace it, or leave it out.")
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for field in parquet.schema_arrow:
                if unsafe := _unsafe_type(field):
                    raise UnsafeError(
                        f"column '{field.name}' of {path} is refused: type {unsafe} is not on "
                        f"the list of what is safe to read (an extension type may run code): int, "
                        f"float, bool, string, binary, and struct of these. Write the file "
                        f"without that column."
                    )
            yield parquet


def read_labels(files: Sequence[Path]) -> tuple[NDArray[np.int64], tuple[str, ...], str]:
    """Return labels [N], class names [K] and the name of the image column.

    Text becomes the row of the sorted classes; integers are returned as they are.

    Args:
        files: Parquet files with the same columns; rows are counted through them in order.

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
                raise DataError(f"row {row} of {file} has no label (null). Label it, or drop it.")
            labels.append(
                values.to_pylist() if columns.text else values.cast(pa.int64()).to_numpy()
            )
        first = first or columns
        if columns != first:
            raise DataError(
                f"{file} has {columns}, but {files[0]} has {first}. Files of one folder must "
                f"agree: write them alike."
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
    """Yield where each image is and its bytes, for sorted rows.

    Row groups without any of the rows are not read.
    """
    end = 0
    for file in files:
        begin = end
        with open_parquet(file) as parquet:
            for group in range(parquet.num_row_groups):
                start, end = end, end + parquet.metadata.row_group(group).num_rows
                wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
                for row, image in _of_group(parquet, group, column, wanted - start):
                    yield f"row {row + start - begin} of {file}", image


def _of_group(
    parquet: pq.ParquetFile, group: int, column: str, rows: Indices
) -> Iterator[tuple[int, bytes | None]]:
    """Yield rows of a row group and their image bytes, batch by batch."""
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
    """Return the first type in a column that is not plain, or nothing."""
    # An extension type that nobody registered looks like the type it is stored in.
    name: bytes | None = (field.metadata or {}).get(EXTENSION)
    if name is not None:
        return name.decode(errors="replace") or "without a name"
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
    """Return which columns hold images and labels."""
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
            f"one is needed. Its columns: {listed}. Rename or drop some."
        )
    if len(labels) != 1:
        raise DataError(
            f"{path} has {len(labels)} columns that could be the label; one is needed, or one "
            f"named 'label'. Its columns: {listed}. Rename or drop some."
        )
    [image], [label] = images, labels
    if not (_is_text(label.type) or pa.types.is_integer(label.type)):
        raise DataError(
            f"labels must be integers or text, but column '{label.name}' of {path} is "
            f"{label.type}. Cast it."
        )
    return Columns(image.name, label.name, _is_text(label.type), _class_names(schema, path))


def _class_names(schema: pa.Schema, path: Path) -> tuple[str, ...]:
    """Return the metadata `classes`, or nothing."""
    given = (schema.metadata or {}).get(b"classes", b"[]")
    with reading(path, "searched for metadata 'classes'"):
        names = json.loads(given)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(
            f"metadata 'classes' of {path} must be a JSON list of names, got {given[:80]}."
        )
    return tuple(names)
