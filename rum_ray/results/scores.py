"""The examples in the report: reliability of the scores, and make-up of the subsets."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.statistics import Mean
from rum_ray.experiment import Precision
from rum_ray.jobs.embeddings import EmbeddingStatistics
from rum_ray.refinement import ByScore
from rum_ray.results.metrics import by_seed, finite, metric, metric_or_reason, numbers
from rum_ray.results.outcome import Examples, ForgetSet
from rum_ray.results.schema import (
    Entanglement,
    ForgetSummary,
    Metric,
    PrecisionSummary,
    ProxySummary,
    ScoreSummary,
    SubsetSummary,
)
from rum_ray.scores.discrepancy import streamed_mmd
from rum_ray.scores.entanglement import Center, entanglement_score
from rum_ray.scores.reliability import (
    CHANGED_GOAL,
    SPLIT_HALF_GOAL,
    changed_share,
    correlation_interval,
    levels,
    rank_correlation,
    split_half,
)
from rum_ray.seeding import Seed

ALIKE = "a score is the same for all"
SAME_CENTROID = "the centroid is that of the retain set"
ALONE = "a set of one example"
NO_POOL = "the scores are not those of a pool"
NOT_BY_SCORE = "the subsets are not by score"


def score_summary(examples: Examples, forget: ForgetSet) -> ScoreSummary:
    """Return the reliability of the scores, and the agreement of proxies with them."""
    scores, pool = examples.scores, examples.pool
    half = None if pool is None else finite(split_half(*pool.halves))
    changed = _changed(examples, forget)
    error, wrong = _known_mean(scores.standard_errors), _auc_flipped(examples)
    no_half, no_change = (NO_POOL, NO_POOL) if pool is None else (ALIKE, NOT_BY_SCORE)
    return ScoreSummary(
        name=scores.name,
        models=None if pool is None else pool.models,
        fraction=None if pool is None else examples.experiment.score.fraction,
        split_half=half,
        changed_share=changed,
        precision=precision_summary(examples),
        standard_error=error,
        auc_flipped=wrong,
        unknown=int((~np.isfinite(scores.values)).sum()),
        proxies={name: _proxy(examples, forget, runs) for name, runs in examples.proxies.items()},
        split_half_reason=no_half if half is None else None,
        changed_share_reason=no_change if changed is None else None,
        standard_error_reason="none is known" if error is None else None,
        auc_flipped_reason="no label is known to be wrong" if wrong is None else None,
    )


def precision_summary(examples: Examples) -> PrecisionSummary | None:
    """Return the precision of memorization that was asked for, and the one that was reached.

    None if a number of models was given.
    """
    asked, pool = examples.experiment.score.models, examples.pool
    if pool is None or not isinstance(asked, Precision):
        return None
    rule, goal = asked.rule
    return PrecisionSummary(rule, goal, pool.statistics.get(rule), asked.max, pool.reached)


def score_warnings(scores: ScoreSummary) -> list[str]:
    """Return warnings about the scores."""
    warnings, models, half = [], scores.models, scores.split_half
    if scores.unknown:
        warnings.append(f"{scores.unknown} examples have no score and were left out.")
    if models and half is None:
        warnings.append(f"The reliability of the scores is unknown: {scores.split_half_reason}.")
    elif models and half is not None and half < SPLIT_HALF_GOAL:
        warnings.append(
            f"The reliability of the scores is {half:.3f}, below the goal of "
            f"{SPLIT_HALF_GOAL}: {models} models are too few."
        )
    precision = scores.precision
    if precision is not None and not precision.reached:
        name = precision.rule.replace("_", " ")
        reached = "unknown" if precision.value is None else f"{precision.value:.3f}"
        warnings.append(
            f"Memorization is less precise than asked: {name} is {reached}, where "
            f"{precision.goal} was the most. {models} models, all that there may be, are too few."
        )
    changed = scores.changed_share
    if changed is not None and changed > CHANGED_GOAL:
        warnings.append(
            f"{100 * changed:.0f} % of the forget set would be in another subset "
            f"with other models, above the goal of {100 * CHANGED_GOAL:.0f} %: {models} models are "
            "too few."
        )
    return warnings


def forget_summary(examples: Examples, forget: ForgetSet) -> ForgetSummary:
    """Return size, choice and classes of the forget set."""
    config, size = examples.experiment.forget, len(forget.rows)
    classes = _class_counts(examples, forget.rows)
    if config.ids is not None:
        return ForgetSummary(size, "ids", classes)
    pick = "class" if config.size is None else config.pick
    return ForgetSummary(size, pick, classes, by=config.by, label=config.label)


def subset_summaries(examples: Examples, forget: ForgetSet) -> tuple[SubsetSummary, ...]:
    """Return size, scores and entanglement of each subset."""
    return tuple(
        _subset(examples, name, rows, forget.embedded) for name, rows in forget.subsets.items()
    )


def entanglement_summary(subsets: Sequence[SubsetSummary]) -> Entanglement:
    """Return the rank correlation of ES and MMD over the subsets; empty for fewer than three.

    The paper finds a negative correlation: entangled sets are close to each other.
    """
    if len(subsets) < 3:
        return Entanglement()
    es = np.array([by_seed(subset.entanglement_score) for subset in subsets])
    found = {}
    for name in ("mmd", "mmd_median"):
        apart = np.array([by_seed(getattr(subset, name)) for subset in subsets])
        found[name] = Metric.missing(f"of a subset, {SAME_CENTROID}")
        if np.isfinite(es).all():
            pairs = zip(es.T, apart.T, strict=True)
            found[name] = metric_or_reason([rank_correlation(*pair) for pair in pairs], ALIKE)
    return Entanglement(found)


def _changed(examples: Examples, forget: ForgetSet) -> float | None:
    """Return the share of the forget set that other models would put into another subset.

    None if scores of a pool do not decide the subsets.
    """
    if forget.pool is None or not _by_score(examples):
        return None
    seed = Seed(examples.experiment.score.seed)
    return finite(changed_share(forget.pool, len(forget.subsets), seed))


def _auc_flipped(examples: Examples) -> float | None:
    """Return the AUC of the score for wrong labels; None if no label is known to be wrong."""
    values, flipped = examples.scores.values, examples.flipped
    known = np.isfinite(values)
    if flipped is None or not flipped[known].any():
        return None
    return finite(auc(values[known & flipped], values[known & ~flipped]))


def _proxy(examples: Examples, forget: ForgetSet, runs: NDArray[np.float64]) -> ProxySummary:
    """Return the agreement of a proxy [runs, N] with the scores and with the subsets."""
    scores, rows, subsets = examples.scores.values, forget.rows, len(forget.subsets)
    mean = Mean.of([rank_correlation(values, scores) for values in runs])
    seed = Seed(examples.experiment.score.seed) / "bootstrap" / "examples"
    low, high = correlation_interval(runs, scores, seed)
    same = Metric.missing(NOT_BY_SCORE)
    if _by_score(examples) and not np.isfinite(runs[:, rows]).all():
        same = Metric.missing("unknown for some of the forget set")
    elif _by_score(examples):
        ours = levels(scores[rows], subsets)
        shares = [float((levels(run[rows], subsets) == ours).mean()) for run in runs]
        same = metric(Mean.of(shares))
    known = np.isfinite([mean.mean, low, high]).all()
    return ProxySummary(
        spearman=finite(mean.mean),
        ci95=finite(mean.ci95),
        values=numbers(mean.values),
        low=finite(low),
        high=finite(high),
        same_subset=same,
        reason=None if known else ALIKE,
    )


def _by_score(examples: Examples) -> bool:
    """Return True if the forget set was split by its scores alone."""
    return isinstance(examples.experiment.refine, ByScore)


def _known_mean(values: NDArray[np.float64]) -> float | None:
    """Return the mean of the finite values; None if there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _subset(
    examples: Examples, name: str, rows: Indices, embedded: Sequence[EmbeddingStatistics]
) -> SubsetSummary:
    """Return size, scores and entanglement of a subset."""
    values, flipped = examples.scores.values[rows], examples.flipped
    return SubsetSummary(
        name=name,
        size=len(rows),
        score=finite(values.mean()),
        score_low=finite(values.min()),
        score_high=finite(values.max()),
        flipped=None if flipped is None else int(flipped[rows].sum()),
        classes=_class_counts(examples, rows),
        **_apart(name, embedded),
    )


def _apart(name: str, embedded: Sequence[EmbeddingStatistics]) -> Mapping[str, Metric]:
    """Return the distances of a subset to the retain set, in the embeddings of each original."""
    pairs = [(model.retain, model.subsets[name]) for model in embedded]
    clouds = [(retain.moments, mine.moments) for retain, mine in pairs]
    centers: dict[str, Center] = {"": "midpoint", "_pooled": "pooled"}
    found: dict[str, Metric] = {}
    for key, center in centers.items():
        es = [entanglement_score(*pair, center) for pair in clouds]
        found[f"entanglement_score{key}"] = metric_or_reason(es, SAME_CENTROID)
    for key, median in (("mmd", False), ("mmd_median", True)):
        estimates = [streamed_mmd(r.bandwidth(median), s.bandwidth(median)) for r, s in pairs]
        values, errors = zip(*estimates, strict=True)
        found[key] = metric(Mean.of(values), errors)
    aucs = [auc for model in embedded if (auc := model.two_sample_auc[name]) is not None]
    found["two_sample_auc"] = metric(Mean.of(aucs)) if aucs else Metric.missing(ALONE)
    return found


def _class_counts(examples: Examples, rows: Indices) -> tuple[int, ...]:
    """Return the number of rows per class."""
    counts = np.bincount(examples.labels[rows], minlength=examples.classes)
    return tuple(map(int, counts))
