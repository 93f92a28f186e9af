"""Labels, ids and image bytes from untrusted Parquet files.

Only columns of plain types are converted. An extension type may unpickle objects; Ray registers
such a type.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.data.schema import Columns, find_columns, unsafe_type
from rum_ray.errors import DataError, UnsafeError, first_ten


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of some files, in the order of their rows.

    Attributes:
        values: [N] texts, or integers.
        ids: [N] values of the column of ids as text; None without such a column.
        columns: the columns of the files.
    """

    values: NDArray[Any]
    ids: NDArray[np.object_] | None
    columns: Columns


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
                if reason := unsafe_type(field):
                    raise UnsafeError(f"column '{field.name}' of {path} is refused: {reason}")
            yield parquet


def read_labels(files: Sequence[Path], label: str | None = None, id: str | None = None) -> Labels:
    """Return the labels and the ids of files with the same columns.

    Args:
        files: Parquet files; rows are numbered across them in order.
        label: name of the label column; None looks for one.
        id: name of the column of ids; None for none.

    Raises:
        ConfigError: a named column does not exist.
        DataError: columns are missing, ambiguous or of a wrong type; a label or an id is null, or
            an id occurs twice.
        UnsafeError: a column has a type that could run code.
    """
    labels: list[Any] = []
    ids: list[Any] = []
    first: Columns | None = None
    for file in files:
        with open_parquet(file) as parquet:
            columns = find_columns(parquet.schema_arrow, file, label, id)
            kind = pa.string() if columns.text else pa.int64()
            labels.append(_column(parquet, columns.label, kind, file, "label"))
            if columns.id is not None:
                ids += _column(parquet, columns.id, pa.string(), file, "id").tolist()
        first = first or columns
        if columns != first:
            raise DataError(
                f"{file} has {columns}, but {files[0]} has {first}. All files of a folder must "
                f"have the same columns."
            )
    assert first is not None
    values = np.concatenate(labels)
    return Labels(values, None if first.id is None else _unique(ids, first.id, files[0]), first)


def _column(
    parquet: pq.ParquetFile, name: str, kind: pa.DataType, file: Path, what: str
) -> NDArray[Any]:
    """Return a column without nulls as values of a type; categories become their values."""
    column = parquet.read([name]).column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DataError(
            f"row {row} of {file} has no {what} (null). Add it in column '{name}', or remove the "
            f"row."
        )
    values: NDArray[Any] = column.cast(kind).to_numpy()
    return values


def _unique(ids: Sequence[str], column: str, file: Path) -> NDArray[np.object_]:
    """Return ids as an array; DataError if one occurs twice."""
    known, counts = np.unique(np.array(ids, dtype=object), return_counts=True)
    doubled = known[counts > 1]
    if len(doubled):
        raise DataError(
            f"data.id: column '{column}' of {file} has {len(doubled)} values in several rows: "
            f"{first_ten(doubled)}. Name a column whose values are unique."
        )
    return np.array(ids, dtype=object)


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
