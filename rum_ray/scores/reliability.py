"""How far scores can be trusted: by halves of the pool, by other models, by other examples."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.errors import ScoreError
from rum_ray.scores.memorization import InOutCounts, memorization
from rum_ray.seeding import Seed

SPLIT_HALF_GOAL = 0.9
"""Reliability that scores should reach."""
CHANGED_GOAL = 0.1
"""Share of the forget set whose subset may change with other models."""
STEP = 64
"""Models by which a pool grows before its precision is looked at again."""
DRAWS = 200
"""Of a bootstrap."""
_CELLS = 1 << 17
"""Cells of a matrix of draws and examples that are worked on at a time."""


def split_half(a: InOutCounts, b: InOutCounts) -> float:
    """Return the reliability of the scores of two halves of a pool together, in [-1, 1].

    Each half scores on its own; Spearman's rank correlation r of the two becomes 2r / (1 + r), what
    twice as many models would have (Spearman-Brown). An r below 0 stays; 1 is perfect.
    """
    r = rank_correlation(a.scores().values, b.scores().values)
    return 2 * r / (1 + r) if r > 0 else r


def resampled(
    included: NDArray[np.bool_], correct: NDArray[np.bool_], seed: Seed, draws: int = DRAWS
) -> Iterator[NDArray[np.float64]]:
    """Yield memorization [N] under pools of as many models, drawn with replacement (bootstrap).

    Args:
        included: [M, N] bool, model m trained on example n.
        correct: [M, N] bool, model m predicts the label of example n.
        seed: where the draws come from.
        draws: how many pools.
    """
    models = len(included)
    pools = seed.integers(draws * models, models).reshape(draws, models)
    times = np.stack([np.bincount(pool, minlength=models) for pool in pools]).astype(np.float32)
    parts = (included, included & correct, ~included, ~included & correct)
    # These are counts, and float32 is exact up to 16 million.
    counts = [(times @ part.astype(np.float32)).astype(np.int64) for part in parts]
    for of_pool in zip(*counts, strict=True):
        yield InOutCounts(*of_pool).scores().values


def levels(values: NDArray[np.float64], subsets: int) -> NDArray[np.int64]:
    """Return the subset of each score [S]: equal parts by ascending score, ties to the earlier."""
    found = np.empty(len(values), dtype=np.int64)
    order = np.argsort(values, kind="stable")
    for level, part in enumerate(np.array_split(order, subsets)):
        found[part] = level
    return found


def changed_share(
    included: NDArray[np.bool_], correct: NDArray[np.bool_], subsets: int, seed: Seed
) -> float:
    """Return the share of the forget set that other models would put into another subset.

    Pools of the same size are drawn with replacement. Each splits the forget set by its own scores;
    the share is the mean over pools. Examples that a pool leaves unknown keep their score.

    Args:
        included: [M, S] bool, model m trained on example n of the forget set.
        correct: [M, S] bool, model m predicts its label.
        subsets: number of subsets.
        seed: root of the scores; the draws come from it.
    """
    scores = memorization(included, correct).values
    ours = levels(scores, subsets)
    pools = resampled(included, correct, seed / "bootstrap" / "models")
    drawn = (np.where(np.isnan(values), scores, values) for values in pools)
    return float(np.mean([(levels(values, subsets) != ours).mean() for values in drawn]))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two scores [N] over the examples that both know.

    In [-1, 1]; NaN where one of them is the same for all. Ties have their mean rank.

    Raises:
        ScoreError: they are not of the same examples, or nothing is known of any.
    """
    (run,), known = _known(np.asarray(a)[None], b)
    return float(_correlations([_Ranking(run)], _Ranking(known), np.ones((1, len(known))))[0, 0])


def correlation_interval(
    proxy: ArrayLike, scores: ArrayLike, seed: Seed, draws: int = DRAWS
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
    rankings, ranking = [_Ranking(run) for run in runs], _Ranking(known)
    drawn = _times_drawn(len(known), seed, draws)
    means = np.concatenate([_correlations(rankings, ranking, t).mean(axis=0) for t in drawn])
    low, high = np.quantile(means, [0.025, 0.975])
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
    runs: Sequence["_Ranking"], scores: "_Ranking", times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the rank correlations [S, D] of runs and scores, example n taken times[d, n] times."""
    ranks, spread = scores.ranks(times)
    ranks *= times
    correlations = []
    for run in runs:
        own, own_spread = run.ranks(times)
        with np.errstate(invalid="ignore"):
            r = np.einsum("dn,dn->d", own, ranks) / np.sqrt(own_spread * spread)
        correlations.append(np.clip(r, -1, 1))
    return np.stack(correlations)


class _Ranking:
    """The order of some values [N], to rank them when each is taken several times."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.order = np.argsort(values, kind="stable")
        self.group = np.unique(values, return_inverse=True)[1]
        self.starts = np.searchsorted(self.group[self.order], np.arange(self.group.max() + 1))

    def ranks(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the ranks [D, N] less their mean, and the sum [D] of the squares of all taken.

        A group of equal values gets the mean of the places that it takes.
        """
        sizes = np.add.reduceat(times[:, self.order], self.starts, axis=1)
        middles = sizes.cumsum(axis=1)
        middles -= sizes / 2 + times.sum(axis=1, keepdims=True) / 2
        return middles[:, self.group], np.einsum("dg,dg,dg->d", sizes, middles, middles)
