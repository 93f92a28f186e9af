"""What the report says of the examples: how hard they are, and what the subsets are made of."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.statistics import Mean
from rum_ray.scores.entanglement import entanglement_score
from rum_ray.scores.memorization import rank_correlation, split_half
from rum_ray.study.study import Study
from rum_ray.work.moments import RETAIN


def subset_entries(study: Study) -> list[dict[str, Any]]:
    """Return each subset's size, scores and entanglement."""
    return [_subset(study, name) for name in study.partition.names]


def score_entry(study: Study) -> dict[str, Any]:
    """Return how reliable the scores are, and how well proxies follow them."""
    score, scores = study.experiment.score, study.scores
    flipped = study.context.bundle.flipped
    known = np.isfinite(scores.values)
    proxies = {}
    for name, by_seed in study.events.items():
        mean = Mean.of([rank_correlation(values, scores.values) for values in by_seed])
        proxies[name] = {"spearman": mean.mean, "ci95": mean.ci95, "values": list(mean.values)}
    return {
        "name": scores.name,
        "models": len(study.pool) or None,
        "fraction": score.fraction if study.pool else None,
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
    moments = [job.load(study.context) for job in study.moments]
    es = Mean.of([entanglement_score(m[RETAIN], m[name]) for m in moments])
    return {
        "name": name,
        "size": len(subset),
        "score": float(values.mean()),
        "score_low": float(values.min()),
        "score_high": float(values.max()),
        "flipped": None if flipped is None else int(flipped[subset.rows].sum()),
        "classes": class_counts(study, subset.rows),
        "entanglement_score": asdict(es),
    }


def class_counts(study: Study, rows: NDArray[np.int64]) -> list[int]:
    """Return how many of the rows each class has."""
    counts = Counter(study.context.bundle.train.y[rows].tolist())
    return [counts[label] for label in range(study.context.bundle.num_classes)]
