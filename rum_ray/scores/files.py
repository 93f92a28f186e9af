"""Scores from files: Parquet in the layout of `scores.parquet`, or published `.npz` files."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.data.parquet import open_parquet
from rum_ray.errors import ScoreError
from rum_ray.scores.base import Scores
from rum_ray.scores.published import NAME, read_published


def read_scores(path: str | Path, examples: LabeledData, name: str = NAME) -> Scores:
    """Return the scores of examples; NaN for an example that the file lacks.

    Args:
        path: a Parquet file with a column `id` and a column of scores, higher is harder. A file
            of memorization may also have a column `standard_error`. Or a published `.npz` file of
            memorization, see `read_published`.
        examples: the training set.
        name: name of the scores and of their column.

    Raises:
        DataError: the file is missing or damaged.
        ScoreError: a column is missing or has a wrong type, an id occurs twice, none is known, or
            the labels in a published file are not those of the examples.
        UnsafeError: a column has a type that could run code, or an array is too large.
    """
    path = Path(path).expanduser()
    if path.suffix != ".npz":
        return _read_parquet(path, examples.ids, name)
    if name != NAME:
        raise ScoreError(f"{path} has memorization only, but score.name is '{name}'. Remove it.")
    return read_published(path, examples)


def _read_parquet(path: Path, ids: Indices, name: str) -> Scores:
    """Return the scores of the examples with these ids."""
    with open_parquet(path) as parquet:
        names = _columns(parquet.schema_arrow, name, path)
        table = parquet.read(columns=names)
    known = table["id"].to_numpy()
    if table["id"].null_count:
        raise ScoreError(f"{path}: a row has no id (null). Every row of scores needs an id.")
    if len(np.unique(known)) < len(known):
        raise ScoreError(f"{path}: an id occurs twice. Give one row per example.")
    present = np.isin(ids, known)
    if len(ids) and len(known) and not present.any():
        raise ScoreError(
            f"{path}: none of its {len(known)} ids is in the training set. Give the scores of this "
            "data set, with the row numbers of its source as ids."
        )
    order = np.argsort(known)
    position = np.searchsorted(known, ids, sorter=order)
    columns = []
    for column in (name, "standard_error"):
        values = np.full(len(ids), np.nan)
        if column in names:
            values[present] = table[column].to_numpy()[order[position[present]]]
        columns.append(values)
    return Scores(columns[0], columns[1], name)


def _columns(schema: pa.Schema, score: str, path: Path) -> list[str]:
    """Validate the schema and return the names of the columns to read."""
    t = pa.types
    for name in ("id", score):
        if name not in schema.names:
            raise ScoreError(
                f"{path}: there is no column '{name}'; the columns are {schema.names}."
            )
    errors = ["standard_error"] if score == "memorization" else []
    names = ["id", score, *(name for name in errors if name in schema.names)]
    for name in names:
        kind = schema.field(name).type
        if not (t.is_integer(kind) or (name != "id" and t.is_floating(kind))):
            wanted = "integers" if name == "id" else "numbers"
            raise ScoreError(f"{path}: column '{name}' must hold {wanted}; its type is {kind}.")
    return names
