"""The report's tables: scores.parquet and trials.parquet."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rum_ray.study.study import Study


def score_table(study: Study, subsets: bool = True) -> pd.DataFrame:
    """Return scores.parquet: one row a training example.

    Args:
        study: whose examples.
        subsets: whether the forget set is known, and each example's subset is told.
    """
    train = study.context.bundle.train
    subset = np.full(len(train), None, dtype=object)
    for part in study.partition if subsets else ():
        subset[part.rows] = part.name
    columns: dict[str, Any] = {
        "id": train.ids,
        "memorization": np.nan,
        "standard_error": study.scores.standard_errors,
        **{name: by_seed.mean(axis=0) for name, by_seed in study.scoring.proxies.items()},
        study.scores.name: study.scores.values,
        "label": train.y.numpy(),
        "subset": subset,
    }
    truth = study.context.bundle.true_labels
    if truth is not None:
        columns["true_label"] = truth.numpy()
    return pd.DataFrame(columns)


def trial_table(study: Study) -> pd.DataFrame:
    """Return trials.parquet: one row a trial of each search."""
    if not study.searches:
        return pd.DataFrame(columns=list(_trial("", 0, {})))
    context, rows = study.context, []
    for name, search in study.searches.items():
        for number, trial in enumerate(search.load(context)):
            made = context.store.provenance(
                search.trial(search.plan(trial["answers"])).key(context)
            )
            rows.append(_trial(name, number, {**made, **trial}))
    return pd.DataFrame(rows)


def _trial(search: str, number: int, trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of trials.parquet."""
    return {
        "search": search,
        "trial": number,
        "start": trial.get("start"),
        "status": trial.get("status"),
        "objective": trial.get("objective"),
        "tow": trial.get("tow"),
        "mia_gap": trial.get("gap"),
        "cost": trial.get("cost"),
        "by_seed": trial.get("by_seed"),
        **{f"forget_accuracy_{n}": a for n, a in trial.get("subsets", {}).items()},
        "seconds": trial.get("seconds"),
        "steps_run": trial.get("steps_run"),
        "cache_hits": trial.get("cache_hits"),
        "plan": json.dumps(trial.get("plan")),
    }
