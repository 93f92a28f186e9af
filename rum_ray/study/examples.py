"""What the report says of the examples: how hard they are, and what the subsets are made of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.statistics import Mean
from rum_ray.rum import Subset
from rum_ray.scores.discrepancy import streamed_mmd
from rum_ray.scores.entanglement import entanglement_score
from rum_ray.scores.memorization import rank_correlation, split_half
from rum_ray.study.study import Study
from rum_ray.work.moments import Embedded


def subset_entries(study: Study) -> list[dict[str, Any]]:
    """Return each subset's size, scores and entanglement."""
    embedded = [job.load(study.context) for job in study.moments]
    return [_subset(study, subset, embedded) for subset in study.partition]


def entanglement_entry(subsets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how ES and MMD rank the subsets alike; nothing for fewer than three subsets.

    The paper finds a negative correlation: what is entangled is not far apart.
    """
    if len(subsets) < 3:
        return {}
    es = np.array([subset["entanglement_score"]["values"] for subset in subsets])
    found = {}
    for name in ("mmd", "mmd_median"):
        apart = np.array([subset[name]["values"] for subset in subsets])
        by_seed = zip(es.T, apart.T, strict=True)
        found[name] = asdict(Mean.of([rank_correlation(*pair) for pair in by_seed]))
    return {"spearman_with_entanglement_score": found}


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


def _subset(study: Study, subset: Subset, embedded: Sequence[Embedded]) -> dict[str, Any]:
    """Return a subset's size, scores and entanglement."""
    values = study.scores.values[subset.rows]
    flipped = study.context.bundle.flipped
    return {
        "name": subset.name,
        "size": len(subset),
        "score": float(values.mean()),
        "score_low": float(values.min()),
        "score_high": float(values.max()),
        "flipped": None if flipped is None else int(flipped[subset.rows].sum()),
        "classes": class_counts(study, subset.rows),
        **_apart(subset.name, embedded),
    }


def _apart(name: str, embedded: Sequence[Embedded]) -> dict[str, Any]:
    """Return how far apart a subset and the retain set are, in each original's embeddings."""
    pairs = [(model.retain, model.subsets[name]) for model in embedded]
    es = [entanglement_score(retain.moments, mine.moments) for retain, mine in pairs]
    found: dict[str, Any] = {"entanglement_score": asdict(Mean.of(es))}
    for key, median in (("mmd", False), ("mmd_median", True)):
        by_seed = [streamed_mmd(r.bandwidth(median), s.bandwidth(median)) for r, s in pairs]
        values, errors = zip(*by_seed, strict=True)
        found[key] = {**asdict(Mean.of(values)), "errors": list(errors)}
    aucs = [auc for model in embedded if (auc := model.two_sample_auc[name]) is not None]
    found["two_sample_auc"] = asdict(Mean.of(aucs)) if aucs else None
    return found


def class_counts(study: Study, rows: NDArray[np.int64]) -> list[int]:
    """Return how many of the rows each class has."""
    counts = Counter(study.context.bundle.train.y[rows].tolist())
    return [counts[label] for label in range(study.context.bundle.num_classes)]
