"""What the report says of the examples: how hard they are, and what the subsets are made of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.statistics import Mean
from rum_ray.experiment import Precision
from rum_ray.refinement import ByScore
from rum_ray.rum import Subset
from rum_ray.scores.discrepancy import streamed_mmd
from rum_ray.scores.entanglement import Center, entanglement_score
from rum_ray.scores.reliability import (
    CHANGED_GOAL,
    SPLIT_HALF_GOAL,
    correlation_interval,
    rank_correlation,
    split_half,
)
from rum_ray.seeding import Seed
from rum_ray.study.choosing import changed_share, levels
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
    return {
        "name": scores.name,
        "models": len(study.scoring.pool) or None,
        "fraction": score.fraction if study.scoring.pool else None,
        "split_half": split_half(*study.scoring.pool_halves) if study.scoring.pool else None,
        "changed_share": _changed(study),
        "precision": _precision(study),
        "standard_error": _mean_or_none(scores.standard_errors),
        "auc_flipped": None
        if flipped is None or not flipped[known].any()
        else auc(scores.values[known & flipped], scores.values[known & ~flipped]),
        "unknown": int((~known).sum()),
        "proxies": {name: _proxy(study, runs) for name, runs in study.scoring.proxies.items()},
    }


def score_warnings(scores: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know before believing the scores of `score_entry`."""
    warnings, models = [], scores["models"]
    if scores["unknown"]:
        warnings.append(f"{scores['unknown']} examples have no score and were left out.")
    if models and not scores["split_half"] >= SPLIT_HALF_GOAL:
        warnings.append(
            f"The reliability of the scores is {scores['split_half']:.3f}, below the goal of "
            f"{SPLIT_HALF_GOAL}: {models} models are too few."
        )
    precision = scores["precision"]
    if precision is not None and not precision["reached"]:
        name, goal = precision["rule"].replace("_", " "), precision["goal"]
        warnings.append(
            f"Memorization is less precise than asked: {name} is {precision['value']:.3f}, where "
            f"{goal} was the most. {models} models, all that there may be, are too few."
        )
    changed = scores["changed_share"]
    if changed is not None and changed > CHANGED_GOAL:
        warnings.append(
            f"{100 * changed:.0f} % of the forget set would be in another subset "
            f"with other models, above the goal of {100 * CHANGED_GOAL:.0f} %: {models} models are "
            "too few."
        )
    return warnings


def _precision(study: Study) -> dict[str, Any] | None:
    """Return how precise memorization was to be and is; None where a number of models was given."""
    asked, prefixes = study.experiment.score.models, study.scoring.prefixes
    if not isinstance(asked, Precision) or not study.scoring.pool:
        return None
    rule, goal = asked.rule
    return {
        "rule": rule,
        "goal": goal,
        "value": prefixes.figures[rule],
        "max": asked.max,
        "reached": prefixes.reached,
    }


def _changed(study: Study) -> float | None:
    """Return the share of the forget set whose subset other models would change, if they might."""
    if not study.scoring.pool or not _by_score(study):
        return None
    included, correct = (bits[:, study.forget] for bits in study.scoring.pool_bits)
    seed = Seed(study.experiment.score.seed)
    return changed_share(included, correct, len(study.partition), seed)


def _proxy(study: Study, runs: NDArray[np.float64]) -> dict[str, Any]:
    """Return how well a proxy [runs, N] follows the scores, and would have split the forget set."""
    scores, forget = study.scores.values, study.forget
    mean = Mean.of([rank_correlation(values, scores) for values in runs])
    seed = Seed(study.experiment.score.seed) / "bootstrap" / "examples"
    low, high = correlation_interval(runs, scores, seed)
    same = None
    if _by_score(study) and np.isfinite(runs[:, forget]).all():
        subsets = len(study.partition)
        ours = levels(scores[forget], subsets)
        same = asdict(Mean.of([(levels(v[forget], subsets) == ours).mean() for v in runs]))
    return {
        "spearman": mean.mean,
        "ci95": mean.ci95,
        "values": list(mean.values),
        "low": low,
        "high": high,
        "same_subset": same,
    }


def _by_score(study: Study) -> bool:
    """Return whether the forget set was split by its scores alone."""
    return isinstance(study.experiment.refine, ByScore)


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
    clouds = [(retain.moments, mine.moments) for retain, mine in pairs]
    centers: dict[str, Center] = {"": "midpoint", "_pooled": "pooled"}
    found: dict[str, Any] = {}
    for key, center in centers.items():
        es = [entanglement_score(*pair, center) for pair in clouds]
        found[f"entanglement_score{key}"] = asdict(Mean.of(es))
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
