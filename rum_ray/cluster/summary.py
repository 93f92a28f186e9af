"""The report's numbers: report.json, and the tables of scores and trials."""

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rum_ray import __version__, config
from rum_ray.cluster.embed import RETAIN, load_moments
from rum_ray.cluster.pipeline import Pipeline
from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.statistics import Mean
from rum_ray.experiment import plan_as_dicts, to_plain
from rum_ray.scores.entanglement import entanglement_score
from rum_ray.scores.memorization import rank_correlation, split_half
from rum_ray.search.spaces import Space
from rum_ray.study.results import Row, add_excess, comparisons, measure
from rum_ray.study.study import Study


def summarize(pipeline: Pipeline, dashboard: str | None = None) -> dict[str, Any]:
    """Return report.json of a finished study."""
    study = pipeline.study
    searches = search_entries(pipeline)
    rows = row_entries(study, pipeline.table())
    table = _labelled(pipeline, rows)
    return {
        "format": 1,
        "status": "complete",
        "experiment": {
            "name": study.experiment.name,
            "digest": study.experiment.digest,
            "config": config.dump(study.experiment),
        },
        "environment": environment(study, dashboard),
        "data": _data(study),
        "scores": _scores(study),
        "forget": {
            "size": len(study.forget),
            "pick": study.experiment.forget.pick if study.experiment.forget.size else "ids",
            "classes": _classes(study, study.forget),
        },
        "subsets": subset_entries(study),
        "rows": rows,
        "comparisons": comparisons(table),
        "searches": searches,
        "stages": [asdict(stage) for stage in pipeline.clock.stages.values()],
        "costs": _costs(pipeline, searches, rows),
        "selected_on": _selected_on(study),
        "warnings": _warnings(study, searches),
    }


def row_entries(study: Study, table: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows, each with its excess over the noise floor."""
    references = [job.load(study.context) for job in study.measured(study.retrained)]
    rows = [measure(study, row, references) for row in table]
    add_excess(rows)
    return rows


def subset_entries(study: Study) -> list[dict[str, Any]]:
    """Return each subset's size, scores and entanglement."""
    return [_subset(study, name) for name in study.partition.names]


def search_entries(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return what each search may do, did and found; nothing without a search."""
    if pipeline.study.experiment.search is None:
        return []
    return [_search(pipeline, space) for space in pipeline.study.spaces]


def _labelled(pipeline: Pipeline, rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows that compete, the searched plan first and best_single second."""
    references = ("retrained", "retrained_again")
    labels = [row.label for row in pipeline.table()]
    competing = [
        (label, row)
        for label, row in zip(labels, rows, strict=True)
        if row["method"] not in references
    ]
    order = {"rum": 0, "best_single": 1}
    competing.sort(
        key=lambda pair: order.get(pair[1]["method"], 2) + 2 * (pair[1]["source"] == "file")
    )
    return competing if competing and competing[0][1]["method"] == "rum" else []


def environment(study: Study, dashboard: str | None) -> dict[str, Any]:
    """Return versions and hardware, which are no part of the results."""
    return {
        "rum_ray": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": version("ray"),
        "numpy": np.__version__,
        "hardware": _hardware(),
        "threads": study.experiment.recipe.threads,
        "workers": study.experiment.cluster.workers,
        "dashboard": dashboard,
    }


def _hardware() -> str:
    """Return what the driver runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def _data(study: Study) -> dict[str, Any]:
    """Return what was learned."""
    bundle = study.context.bundle
    flipped = bundle.flipped
    return {
        "name": bundle.name,
        "train": len(bundle.train),
        "valid": len(bundle.valid),
        "test": len(bundle.test),
        "classes": list(bundle.class_names),
        "label_noise": bundle.label_noise.fraction if bundle.label_noise else None,
        "flipped": None if flipped is None else int(flipped.sum()),
    }


def _scores(study: Study) -> dict[str, Any]:
    """Return how reliable the scores are, and how well proxies follow them."""
    config, scores = study.experiment.score, study.scores
    flipped = study.context.bundle.flipped
    known = np.isfinite(scores.values)
    proxies = {}
    for name, by_seed in study.events.items():
        mean = Mean.of([rank_correlation(values, scores.values) for values in by_seed])
        proxies[name] = {"spearman": mean.mean, "ci95": mean.ci95, "values": list(mean.values)}
    return {
        "name": scores.name,
        "models": len(study.pool) or None,
        "fraction": config.fraction if study.pool else None,
        "split_half": split_half(*study.pool_bits) if study.pool else None,
        "standard_error": _mean_or_none(scores.standard_errors),
        "auc_flipped": None
        if flipped is None or not flipped[known].any()
        else auc(scores.values[known & flipped], scores.values[known & ~flipped]),
        "unknown": int((~known).sum()),
        "proxies": proxies,
    }


def _mean_or_none(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _subset(study: Study, name: str) -> dict[str, Any]:
    """Return a subset's size, scores and entanglement."""
    (subset,) = (s for s in study.partition if s.name == name)
    values = study.scores.values[subset.rows]
    flipped = study.context.bundle.flipped
    moments = [load_moments(study.context, m, study.partition) for m in study.originals]
    es = Mean.of([entanglement_score(m[RETAIN], m[name]) for m in moments])
    return {
        "name": name,
        "size": len(subset),
        "score": float(values.mean()),
        "score_low": float(values.min()),
        "score_high": float(values.max()),
        "flipped": None if flipped is None else int(flipped[subset.rows].sum()),
        "classes": _classes(study, subset.rows),
        "entanglement_score": asdict(es),
    }


def _classes(study: Study, rows: NDArray[np.int64]) -> list[int]:
    """Return how many of the rows each class has."""
    counts = Counter(study.context.bundle.train.y[rows].tolist())
    return [counts[label] for label in range(study.context.bundle.num_classes)]


def _search(pipeline: Pipeline, space: Space) -> dict[str, Any]:
    """Return what a search may do, did and found."""
    study, trials = pipeline.study, pipeline.trials(space)
    search = study.experiment.search
    assert search is not None
    pick = pipeline.pick(space)
    tried, fresh = (
        study.context.load(study.trial(pick, fresh=fresh)).value for fresh in (False, True)
    )
    statuses = Counter(trial["status"] for trial in trials)
    return {
        "name": {"V0": "best_single", "V4": "rum"}.get(space.name, "refined"),
        "space": space.name,
        "trials": len(trials),
        "objective": "tow - mia_gap",
        "split": "validation",
        "attack": search.attack,
        "reference": search.reference,
        "max_cost": search.max_cost,
        "seconds": pipeline.clock.stages[f"search {space.name}"].seconds,
        "complete": statuses["complete"],
        "infeasible": statuses["infeasible"],
        "diverged": statuses["diverged"],
        "best": {
            "plan": plan_as_dicts(pick),
            "objective": tried["objective"],
            "validated": fresh["objective"],
            "cost": tried["cost"],
        },
    }


def _costs(
    pipeline: Pipeline, searches: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return what was spent, in trainings of the original."""
    study = pipeline.study
    seeds, plans = len(study.originals), len(study.search_originals)
    trials = [t for s in study.spaces for t in pipeline.trials(s)] if searches else []
    search = study.experiment.search
    tried = sum(t["cost"] for t in trials if t["status"] == "complete")
    return {
        "unit": "trainings of the original",
        "scores": _share(study) * len(study.scorers),
        "originals": seeds,
        "search": plans + (tried * search.seeds + len(study.references) if search else 0),
        "references": 2 * seeds,
        "plans": sum(
            row["metrics"]["cost"]["mean"] * seeds
            for row in rows
            if row["method"] not in ("retrained", "retrained_again", "original")
        ),
    }


def _share(study: Study) -> float:
    """Return what training one scoring model costs, in trainings of the original."""
    score, recipe = study.experiment.score, study.experiment.recipe
    share = score.fraction if study.pool else 1.0
    return share * (score.recipe or recipe).epochs / recipe.epochs


def _selected_on(study: Study) -> list[dict[str, Any]]:
    """Return what was selected, on which split and seeds."""
    search = study.experiment.search
    entries = [
        {
            "what": "forget set and subsets",
            "split": "train",
            "seeds": f"score pool, root {study.experiment.score.seed}",
        }
    ]
    if search is not None:
        entries.append(
            {
                "what": "plans of the searches, and the values in vanilla, shuffle and rum_f",
                "split": "validation",
                "seeds": f"{search.seeds} search seeds, and 2 fresh ones for the finalists",
            }
        )
    seeds = ", ".join(map(str, study.experiment.seeds))
    return [*entries, {"what": "nothing: reported rows", "split": "test", "seeds": seeds}]


def _warnings(study: Study, searches: list[dict[str, Any]]) -> list[str]:
    """Return what a reader should know before believing the numbers."""
    warnings = []
    unknown = int(np.isnan(study.scores.values).sum())
    if unknown:
        warnings.append(f"{unknown} examples have no score and were left out.")
    for search in searches:
        for status in ("infeasible", "diverged"):
            if search[status]:
                count, total = search[status], search["trials"]
                warnings.append(f"{search['space']}: {count} of {total} trials were {status}.")
    if len(study.experiment.seeds) < 5:
        warnings.append(f"Only {len(study.experiment.seeds)} seeds: intervals are wide.")
    return warnings


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
        "memorization": study.scores.values,
        "standard_error": study.scores.standard_errors,
        **{name: by_seed.mean(axis=0) for name, by_seed in study.events.items()},
        "label": train.y.numpy(),
        "subset": subset,
    }
    truth = study.context.bundle.true_labels
    if truth is not None:
        columns["true_label"] = truth.numpy()
    return pd.DataFrame(columns)


def trial_table(pipeline: Pipeline) -> pd.DataFrame:
    """Return trials.parquet: one row a trial of each search."""
    study = pipeline.study
    if study.experiment.search is None:
        return pd.DataFrame(columns=list(_trial("", 0, {})))
    return pd.DataFrame(
        [
            _trial(space.name, number, trial)
            for space in study.spaces
            for number, trial in enumerate(pipeline.trials(space))
        ]
    )


def _trial(search: str, number: int, trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of trials.parquet."""
    return {
        "search": search,
        "trial": number,
        "status": trial.get("status"),
        "objective": trial.get("objective"),
        "tow": trial.get("tow"),
        "mia_gap": trial.get("gap"),
        "cost": trial.get("cost"),
        "seconds": trial.get("seconds"),
        "plan": json.dumps(to_plain(trial.get("plan"))),
    }
