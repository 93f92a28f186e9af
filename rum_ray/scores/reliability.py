"""How far scores can be trusted: by halves of the pool, by other models, by other examples."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.errors import ScoreError
from rum_ray.scores.memorization import InOutCounts, memorization
from rum_ray.seeding import Seed

SPLIT_HALF_GOAL = 0.9
"""Reliability that scores should reach."""
CHANGED_GOAL = 0.1
"""Share of the forget set whose subset may change with other models."""
POOL_DRAWS = 200
EXAMPLE_DRAWS = 500
_CELLS = 1 << 20
"""Cells of a matrix of draws and examples that are worked on at a time."""


def split_half(a: InOutCounts, b: InOutCounts) -> float:
    """Return the reliability of the scores of two halves of a pool together, in [-1, 1].

    Each half scores on its own; Spearman's rank correlation r of the two becomes 2r / (1 + r), what
    twice as many models would have (Spearman-Brown). An r below 0 stays; 1 is perfect.
    """
    r = rank_correlation(a.scores().values, b.scores().values)
    return 2 * r / (1 + r) if r > 0 else r


def resampled(
    included: NDArray[np.bool_], correct: NDArray[np.bool_], seed: Seed, draws: int = POOL_DRAWS
) -> Iterator[NDArray[np.float64]]:
    """Yield memorization [N] under pools of as many models, drawn with replacement (bootstrap).

    Args:
        included: [M, N] bool, model m trained on example n.
        correct: [M, N] bool, model m predicts the label of example n.
        seed: where the draws come from.
        draws: how many pools.
    """
    models = len(included)
    for pool in seed.integers(draws * models, models).reshape(draws, models):
        yield memorization(included[pool], correct[pool]).values


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two scores [N] over the examples that both know.

    In [-1, 1]; NaN where one of them is the same for all. Ties have their mean rank.

    Raises:
        ScoreError: they are not of the same examples, or nothing is known of any.
    """
    (x,), y = _known(np.asarray(a)[None], b)
    once = np.ones((1, len(y)))
    return float(_correlations(_ranks(x, once), _ranks(y, once), once)[0])


def correlation_interval(
    proxy: ArrayLike, scores: ArrayLike, seed: Seed, draws: int = EXAMPLE_DRAWS
) -> tuple[float, float]:
    """Return the 95 % interval, over examples, of a proxy's rank correlation with the scores.

    Examples are drawn with replacement, as many as there are, and ranked anew (percentile
    bootstrap). So the interval speaks of other examples, not of other seeds.

    Args:
        proxy: [S, N] of each run; the mean of the runs' correlations is what has the interval.
        scores: [N].
        seed: where the draws come from.
        draws: how many.

    Raises:
        ScoreError: they are not of the same examples, or nothing is known of any.
    """
    runs, known = _known(proxy, scores)
    means = []
    for times in _times_drawn(len(known), seed, draws):
        ranks = _ranks(known, times)
        by_run = [_correlations(_ranks(run, times), ranks, times) for run in runs]
        means.append(np.mean(by_run, axis=0))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _known(runs: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return runs [S, N] and scores [N] of the examples that all of them know."""
    runs, scores = (np.asarray(values, dtype=np.float64) for values in (runs, scores))
    if runs.ndim != 2 or scores.ndim != 1 or runs.shape[1] != len(scores):
        raise ScoreError(
            "a rank correlation needs two scores of the same examples, one number each; "
            f"got shapes {runs.shape[1:]} and {scores.shape}."
        )
    known = np.isfinite(scores) & np.isfinite(runs).all(axis=0)
    if not known.any():
        raise ScoreError(
            f"a rank correlation needs examples that both scores know; of {len(scores)} there is "
            "none. Score with more models, or look at what gave no number (NaN)."
        )
    return runs[:, known], scores[known]


def _times_drawn(examples: int, seed: Seed, draws: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each draw takes each example [some draws, N], until all draws are done."""
    for draw in range(0, draws, step := max(1, _CELLS // examples)):
        count = min(step, draws - draw)
        words = [(seed / d).integers(examples, examples) for d in range(draw, draw + count)]
        yield np.stack([np.bincount(w, minlength=examples) for w in words]).astype(np.float64)


def _correlations(
    x: NDArray[np.float64], y: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation [D] of centred ranks [D, N], example n taken times[d, n] times."""
    spread = np.sqrt((times * x * x).sum(axis=1) * (times * y * y).sum(axis=1))
    with np.errstate(invalid="ignore"):
        correlations: NDArray[np.float64] = np.clip((times * x * y).sum(axis=1) / spread, -1, 1)
    return correlations


def _ranks(values: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks [D, N] of examples that are taken several times, less the mean rank.

    A group of equal values gets the mean of the places that it takes.
    """
    order = np.argsort(values, kind="stable")
    group = np.unique(values, return_inverse=True)[1]
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    sizes = np.add.reduceat(times[:, order], starts, axis=1)
    middles = sizes.cumsum(axis=1) - sizes / 2
    ranks: NDArray[np.float64] = middles[:, group] - times.sum(axis=1, keepdims=True) / 2
    return ranks
