"""Scores in Parquet files, as `scores.parquet` has them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rum_ray.data.bundle import Indices
from rum_ray.errors import ScoreError
from rum_ray.scores.base import Scores


def read_scores(path: str | Path, ids: Indices) -> Scores:
    """Return the scores of the examples with these ids; NaN for an id that the file lacks.

    Args:
        path: a Parquet file with the columns `id` and `memorization`, perhaps `standard_error`.
        ids: [N] of the training set.

    Raises:
        ScoreError: the file cannot be read, lacks a column, or has an id twice.
    """
    path = Path(path).expanduser()
    try:
        schema = pq.read_schema(path)
        names = [n for n in ("id", "memorization", "standard_error") if n in schema.names]
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowInvalid) as error:
        raise ScoreError(f"scores {path} cannot be read: {error}") from error
    for name in ("id", "memorization"):
        if name not in names:
            raise ScoreError(f"scores {path} has no column '{name}'; it has {schema.names}.")
    known = table["id"].to_numpy()
    if len(np.unique(known)) < len(known):
        raise ScoreError(f"scores {path} has an id twice.")
    order = np.argsort(known)
    place = np.clip(np.searchsorted(known, ids, sorter=order), 0, len(known) - 1)
    found = known[order[place]] == ids
    columns = []
    for name in ("memorization", "standard_error"):
        values = np.full(len(ids), np.nan)
        if name in names:
            values[found] = table[name].to_numpy()[order[place]][found]
        columns.append(values)
    return Scores(columns[0], columns[1], "memorization")
