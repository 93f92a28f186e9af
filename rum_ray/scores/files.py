"""Scores in Parquet files, as `scores.parquet` has them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from rum_ray.data.bundle import Indices
from rum_ray.data.parquet import open_parquet
from rum_ray.errors import ScoreError
from rum_ray.scores.base import Scores


def read_scores(path: str | Path, ids: Indices, name: str = "memorization") -> Scores:
    """Return the scores of the examples with these ids; NaN for an id that the file lacks.

    Args:
        path: a Parquet file with a column `id` and one of scores, higher is harder; beside
            memorization, perhaps its `standard_error`.
        ids: [N] of the training set.
        name: of the scores and of their column.

    Raises:
        DataError: the file is missing or damaged.
        ScoreError: the file lacks a column, has one of a wrong type, or an id twice.
        UnsafeError: a column has a type that could run code.
    """
    path = Path(path).expanduser()
    with open_parquet(path) as parquet:
        names = _columns(parquet.schema_arrow, name, path)
        table = parquet.read(columns=names)
    known = table["id"].to_numpy()
    if table["id"].null_count:
        raise ScoreError(f"scores {path} has a row without an id (null).")
    if len(np.unique(known)) < len(known):
        raise ScoreError(f"scores {path} has an id twice.")
    order = np.argsort(known)
    place = np.searchsorted(known, ids, sorter=order)
    found = np.isin(ids, known)
    columns = []
    for column in (name, "standard_error"):
        values = np.full(len(ids), np.nan)
        if column in names:
            values[found] = table[column].to_numpy()[order[place[found]]]
        columns.append(values)
    return Scores(columns[0], columns[1], name)


def _columns(schema: pa.Schema, score: str, path: Path) -> list[str]:
    """Return the names of the columns to read, once they are what they must be."""
    t = pa.types
    for name in ("id", score):
        if name not in schema.names:
            raise ScoreError(f"scores {path} has no column '{name}'; it has {schema.names}.")
    errors = ["standard_error"] if score == "memorization" else []
    names = ["id", score, *(name for name in errors if name in schema.names)]
    for name in names:
        kind = schema.field(name).type
        if not (t.is_integer(kind) or (name != "id" and t.is_floating(kind))):
            wanted = "integers" if name == "id" else "numbers"
            raise ScoreError(f"column '{name}' of scores {path} must hold {wanted}, not {kind}.")
    return names
