"""The data frames of scores.parquet and trials.parquet."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rum_ray.data.parquet import read_table
from rum_ray.errors import DataError
from rum_ray.results.outcome import Examples, ForgetSet, SearchOutcome, Trial
from rum_ray.results.schema import to_json

_TRIAL_COLUMNS = {
    "search": "str",
    "trial": "int64",
    "start": "bool",
    "inherited": "bool",
    "status": "str",
    "objective": "float64",
    "tow": "float64",
    "mia_gap": "float64",
    "auc_gap": "float64",
    "examples": "float64",
    "cost": "float64",
    "by_seed": "object",
    "seconds": "float64",
    "steps_run": "int64",
    "cache_hits": "int64",
    "plan": "str",
}
"""Columns of trials.parquet and their types, without those of subsets."""


def score_table(examples: Examples, forget: ForgetSet | None = None) -> pd.DataFrame:
    """Return scores.parquet: one row per training example.

    Args:
        examples: scores and proxies.
        forget: names the subset of each example; None if it is not known yet.
    """
    subset = np.full(len(examples.ids), None, dtype=object)
    for name, rows in ({} if forget is None else forget.subsets).items():
        subset[rows] = name
    columns: dict[str, Any] = {
        "id": examples.ids,
        "memorization": np.nan,
        "standard_error": examples.scores.standard_errors,
        **{name: runs.mean(axis=0) for name, runs in examples.proxies.items()},
        examples.scores.name: examples.scores.values,
        "label": examples.labels,
        "subset": subset,
    }
    if examples.true_labels is not None:
        columns["true_label"] = examples.true_labels
    if examples.names is not None:
        columns["name"] = examples.names.values
    return pd.DataFrame(columns)


def trial_table(searches: Sequence[SearchOutcome]) -> pd.DataFrame:
    """Return trials.parquet: one row per trial of each search; empty without a search."""
    if not searches:
        types = _TRIAL_COLUMNS.items()
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types})
    return pd.DataFrame(
        [
            _trial(search.name, number, trial)
            for search in searches
            for number, trial in enumerate(search.trials)
        ]
    )


def _trial(search: str, number: int, trial: Trial) -> Mapping[str, Any]:
    """Return a row of trials.parquet."""
    return {
        "search": search,
        "trial": number,
        "start": trial.start,
        "inherited": trial.inherited,
        "status": trial.status,
        "objective": trial.objective,
        "tow": trial.tow,
        "mia_gap": trial.svm_gap,
        "auc_gap": trial.auc_gap,
        "examples": trial.examples,
        "cost": trial.cost,
        "by_seed": list(trial.by_seed),
        **{f"forget_accuracy_{name}": share for name, share in trial.subsets.items()},
        "seconds": trial.seconds,
        "steps_run": trial.steps_run,
        "cache_hits": trial.cache_hits,
        "plan": json.dumps(to_json(trial.plan)),
    }


def without_rows(
    path: Path, forgotten: Collection[str], hashed: Callable[[str], str]
) -> tuple[bytes, int]:
    """Return a scores.parquet without the rows of forgotten ids, and the number of these rows.

    Args:
        path: the file.
        forgotten: hashes of ids.
        hashed: returns the hash of an id.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        table = read_table(path).to_pandas()
    except DataError as error:
        raise DataError(f"{error} The command does not remove it.") from error
    ids = [name for name in ("id", "name", "path") if name in table]
    gone = np.zeros(len(table), dtype=bool)
    for name in ids:
        gone |= np.array([hashed(str(value)) in forgotten for value in table[name]], dtype=bool)
    return table[~gone].to_parquet(None, index=False), int(gone.sum())
