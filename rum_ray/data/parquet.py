"""Labels, ids and image bytes from untrusted Parquet files.

Only columns of plain types are converted. An extension type may unpickle objects; Ray registers
such a type. A small file may declare values that need any amount of memory, so columns are read in
batches, texts as categories, and what a file declares is limited.
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
from rum_ray.data.schema import EXTENSION, Columns, find_columns, is_text, unsafe_type
from rum_ray.errors import DataError, UnsafeError, first_ten
from rum_ray.files import regular_status

MOST_ROWS = 100_000_000
"""Most rows of a file."""
MOST_DECLARED = 2**30
"""Most bytes that a row group may declare for labels, or for ids."""
MOST_TEXT = 4096
"""Most bytes of a label, or of an id."""
MOST_BATCH = 2**30
"""Most bytes of images that are decompressed at a time."""
MOST_IMAGES = 1000
"""Most images that are decompressed at a time."""


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
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Give the path of a file.") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        told = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        reason = (told or "it needs more memory than there is").removesuffix(".")
        raise DataError(
            f"{path} cannot be {verb}: {reason}. Replace or remove the file."
        ) from error


@contextlib.contextmanager
def open_parquet(path: Path, categories: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file whose columns all have plain types.

    Args:
        path: of the file.
        categories: columns of text that are read as categories, each value once.

    Raises:
        DataError: the file is empty, truncated, damaged, or not a Parquet file.
        UnsafeError: a column has another type, or there are too many rows; nothing was converted.
    """
    with as_data_error(path, "read as a Parquet file"):
        if not regular_status(path).st_size:
            raise DataError(f"{path} is empty (0 bytes). Replace or remove the file.")
        with pq.ParquetFile(
            path, page_checksum_verification=True, read_dictionary=[*categories]
        ) as parquet:
            if parquet.metadata.num_rows > MOST_ROWS:
                raise UnsafeError(
                    f"{path} is refused: it has {parquet.metadata.num_rows:,} rows; at most "
                    f"{MOST_ROWS:,} are read. Split it, or take fewer rows."
                )
            for field in parquet.schema_arrow:
                if reason := unsafe_type(field):
                    raise UnsafeError(f"column '{field.name}' of {path} is refused: {reason}")
            yield parquet


def read_table(path: Path) -> pa.Table:
    """Return a table of a report, whose columns have plain types or are lists of them.

    Raises:
        DataError: the file is missing or damaged.
        UnsafeError: a column has another type; nothing was converted.
    """
    with as_data_error(path, "read as a Parquet file"):
        regular_status(path)
        with pq.ParquetFile(path) as parquet:
            for field in parquet.schema_arrow:
                listed = pa.types.is_list(field.type) and EXTENSION not in (field.metadata or {})
                if reason := unsafe_type(field.type.value_field if listed else field):
                    raise UnsafeError(f"column '{field.name}' of {path} is refused: {reason}")
            return parquet.read()


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
        texts = [name for name in (columns.label, columns.id) if name is not None]
        with open_parquet(file, texts) as parquet:
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
    """Return a column without nulls as values of a type; categories become their values.

    Equal texts of a batch are one object.
    """
    for group in range(parquet.num_row_groups):
        if _declared(parquet, group, name) > MOST_DECLARED:
            raise UnsafeError(
                f"{file} is refused: a row group has more than {MOST_DECLARED >> 30} GiB of {what}s"
                f" in column '{name}'. Write smaller row groups, or shorter {what}s."
            )
    parts, start = [np.empty(0, kind.to_pandas_dtype())], 0
    for batch in parquet.iter_batches(columns=[name]):
        column = batch.column(0)
        if column.null_count:
            row = start + column.is_null().to_numpy(zero_copy_only=False).argmax()
            raise DataError(
                f"row {row} of {file} has no {what} (null). Add it in column '{name}', or remove "
                f"the row."
            )
        is_category = pa.types.is_dictionary(column.type)
        known = column.dictionary if is_category else column
        longest = pc.max(pc.binary_length(known)).as_py() if is_text(known.type) else None
        if longest is not None and longest > MOST_TEXT:
            raise DataError(
                f"{file} has a {what} of {longest:,} bytes in column '{name}'; at most "
                f"{MOST_TEXT:,} are allowed. Shorten it."
            )
        values = known.cast(kind).to_numpy(zero_copy_only=False)
        parts.append(values[column.indices.to_numpy()] if is_category else values)
        start += len(column)
    return np.concatenate(parts)


def _declared(parquet: pq.ParquetFile, group: int, name: str) -> int:
    """Return the bytes that a row group declares for a column, without compression."""
    found = parquet.metadata.row_group(group)
    chunks = (found.column(number) for number in range(found.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema.partition(".")[0] == name
    )


def _unique(ids: Sequence[str], column: str, file: Path) -> NDArray[np.object_]:
    """Return ids as an array; DataError if one occurs twice."""
    values = np.array(ids, dtype=object)
    _, first, counts = np.unique(values, return_index=True, return_counts=True)
    doubled = np.sort(first[counts > 1])
    if len(doubled):
        # Ids are personal data, so the message has none.
        raise DataError(
            f"data.id: column '{column}' of {file} has {len(doubled)} values in several rows, "
            f"first in row {first_ten(doubled, quote='')}. Name a column whose values are unique."
        )
    return values


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
    # A value that many rows share is declared once, and needs its bytes in each row of a batch.
    most = MOST_BATCH // max(1, _declared(parquet, group, column))
    size, end = max(1, min(MOST_IMAGES, most)), 0
    for batch in parquet.iter_batches(batch_size=size, row_groups=[group], columns=[column]):
        values = batch.column(column)
        if pa.types.is_struct(values.type):
            values = pc.struct_field(values, "bytes")
        start, end = end, end + len(values)
        for row in rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]:
            yield row, values[row - start].as_py()
        if end > rows[-1]:
            return
