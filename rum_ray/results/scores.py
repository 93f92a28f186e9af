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
from rum_ray.jobs.embeddings import Embedded
from rum_ray.refinement import ByScore
from rum_ray.results.entries import missing
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
from rum_ray.study.forget import changed_share, levels
from rum_ray.study.study import Study

ALIKE = "a score is the same for all"
SAME_CENTROID = "the centroid is that of the retain set"
ALONE = "a set of one example"
NO_POOL = "the scores are not those of a pool"
NOT_BY_SCORE = "the subsets are not by score"


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
        found[name] = missing(f"of a subset, {SAME_CENTROID}")
        if np.isfinite(es).all():
            found[name] = _mean([rank_correlation(*pair) for pair in by_seed], ALIKE)
    return {"spearman_with_entanglement_score": found}


def score_entry(study: Study) -> dict[str, Any]:
    """Return how reliable the scores are, and how well proxies follow them."""
    score, scores = study.experiment.score, study.scores
    flipped = study.context.bundle.flipped
    known, pool = np.isfinite(scores.values), study.scoring.choosing
    half = split_half(*study.scoring.pool_halves) if pool else None
    wrong = None
    if flipped is not None and flipped[known].any():
        wrong = auc(scores.values[known & flipped], scores.values[known & ~flipped])
    return {
        "name": scores.name,
        "models": len(pool) or None,
        "fraction": score.fraction if pool else None,
        **_or_reason("split_half", half, ALIKE if pool else NO_POOL),
        **_or_reason("changed_share", _changed(study), NOT_BY_SCORE if pool else NO_POOL),
        "precision": precision_entry(study),
        **_or_reason("standard_error", _mean_or_none(scores.standard_errors), "none is known"),
        **_or_reason("auc_flipped", wrong, "no label is known to be wrong"),
        "unknown": int((~known).sum()),
        "proxies": {name: _proxy(study, runs) for name, runs in study.scoring.proxies.items()},
    }


def score_warnings(scores: Mapping[str, Any]) -> list[str]:
    """Return what a reader should know before believing the scores of `score_entry`."""
    warnings, models, half = [], scores["models"], scores["split_half"]
    if scores["unknown"]:
        warnings.append(f"{scores['unknown']} examples have no score and were left out.")
    if models and half is None:
        warnings.append(f"The reliability of the scores is unknown: {scores['split_half_reason']}.")
    elif models and half < SPLIT_HALF_GOAL:
        warnings.append(
            f"The reliability of the scores is {half:.3f}, below the goal of "
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


def precision_entry(study: Study) -> dict[str, Any] | None:
    """Return how precise memorization was to be and is; None where a number of models was given."""
    asked, pool_size = study.experiment.score.models, study.scoring.pool_size
    if not isinstance(asked, Precision) or not study.scoring.pool:
        return None
    rule, goal = asked.rule
    return {
        "rule": rule,
        "goal": goal,
        "value": pool_size.statistics.get(rule),
        "max": asked.max,
        "reached": pool_size.reached,
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
    same = missing(NOT_BY_SCORE)
    if _by_score(study) and not np.isfinite(runs[:, forget]).all():
        same = missing("unknown for some of the forget set")
    elif _by_score(study):
        subsets = len(study.partition)
        ours = levels(scores[forget], subsets)
        same = asdict(Mean.of([(levels(v[forget], subsets) == ours).mean() for v in runs]))
    known = np.isfinite([mean.mean, low, high]).all()
    return {
        **({} if known else {"reason": ALIKE}),
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


def _mean(values: Sequence[float], reason: str) -> dict[str, Any]:
    """Return the mean over seeds; the reason why there is none if a value is not finite."""
    if np.isfinite(values).all():
        return asdict(Mean.of(values))
    return {**missing(reason), "values": list(values)}


def _or_reason(name: str, value: float | None, reason: str) -> dict[str, Any]:
    """Return a number under its name; where there is none, null and the reason beside it."""
    if value is not None and np.isfinite(value):
        return {name: value}
    return {name: None, f"{name}_reason": reason}


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
        found[f"entanglement_score{key}"] = _mean(es, SAME_CENTROID)
    for key, median in (("mmd", False), ("mmd_median", True)):
        by_seed = [streamed_mmd(r.bandwidth(median), s.bandwidth(median)) for r, s in pairs]
        values, errors = zip(*by_seed, strict=True)
        found[key] = {**asdict(Mean.of(values)), "errors": list(errors)}
    aucs = [auc for model in embedded if (auc := model.two_sample_auc[name]) is not None]
    found["two_sample_auc"] = asdict(Mean.of(aucs)) if aucs else missing(ALONE)
    return found


def class_counts(study: Study, rows: NDArray[np.int64]) -> list[int]:
    """Return how many of the rows each class has."""
    counts = Counter(study.context.bundle.train.y[rows].tolist())
    return [counts[label] for label in range(study.context.bundle.num_classes)]
