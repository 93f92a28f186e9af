"""Reliability of scores: split halves of the pool, and bootstraps over models and examples."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.errors import ScoreError
from rum_ray.scores.memorization import InOutCounts, PoolBits
from rum_ray.seeding import Seed

SPLIT_HALF_GOAL = 0.9
"""Smallest split-half reliability that the report accepts."""
CHANGED_GOAL = 0.1
"""Largest fraction of the forget set that may change its subset under another pool."""
STEP = 64
"""Number of models that are added to a pool between two checks of its precision."""
DRAWS = 200
"""Number of bootstrap draws."""
_COLUMNS = 8
"""Number of bytes of packed bits, of all models, that are processed at a time."""
_CELLS = 1 << 17
"""Number of cells of the matrix of draws and examples that are processed at a time."""


def split_half(a: InOutCounts, b: InOutCounts) -> float:
    """Return the split-half reliability of a whole pool's scores, in [-1, 1]; 1 is perfect.

    Spearman's rank correlation r between the scores of the two halves becomes 2r / (1 + r), the
    value for twice as many models (Spearman-Brown). A negative r is returned unchanged.
    """
    r = rank_correlation(a.scores().values, b.scores().values)
    return 2 * r / (1 + r) if r > 0 else r


def bootstrap_scores(
    bits: PoolBits, seed: Seed, draws: int = DRAWS
) -> Iterator[NDArray[np.float64]]:
    """Yield memorization [N] for pools of M models that are drawn with replacement (bootstrap).

    Args:
        bits: of M models on N examples.
        seed: seed of the draws.
        draws: number of pools.
    """
    models = len(bits)
    pools = seed.integers(draws * models, models).reshape(draws, models)
    times = np.empty((draws, models), dtype=np.float32)
    for row, pool in zip(times, pools, strict=True):
        row[:] = np.bincount(pool, minlength=models)
    blocks = []
    for included, correct in bits.columns(_COLUMNS):
        parts = (included, included & correct, ~included, ~included & correct)
        # The products are counts, and float32 is exact up to 16 million.
        blocks.append([(times @ part.astype(np.float32)).astype(np.int64) for part in parts])
    counts = (np.concatenate(part, axis=1) for part in zip(*blocks, strict=True))
    for pool_counts in zip(*counts, strict=True):
        yield InOutCounts(*pool_counts).scores().values


def levels(values: NDArray[np.float64], subsets: int) -> NDArray[np.int64]:
    """Return the subset of each score [S]: equal parts by ascending score, ties to the earlier."""
    found = np.empty(len(values), dtype=np.int64)
    order = np.argsort(values, kind="stable")
    for level, part in enumerate(np.array_split(order, subsets)):
        found[part] = level
    return found


def changed_share(bits: PoolBits, subsets: int, seed: Seed) -> float:
    """Return the share of the forget set that other models would put into another subset.

    Pools of the same size are drawn with replacement. Each splits the forget set by its own scores;
    the share is the mean over pools. Examples that a pool leaves unknown keep their score.

    Args:
        bits: of M models on the forget set.
        subsets: number of subsets.
        seed: root of the scores; the draws come from it.
    """
    scores = bits.counts().scores().values
    ours = levels(scores, subsets)
    pools = bootstrap_scores(bits, seed / "bootstrap" / "models")
    drawn = (np.where(np.isnan(values), scores, values) for values in pools)
    return float(np.mean([(levels(values, subsets) != ours).mean() for values in drawn]))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two scores [N], in [-1, 1].

    Only examples with both scores count, and ties get their mean rank. The correlation is NaN if
    one of the scores is constant.

    Raises:
        ScoreError: the scores differ in length, or no example has both.
    """
    (run,), known = _known_to_all(np.asarray(a)[None], b)
    return float(_correlations([_Ranking(run)], _Ranking(known), np.ones((1, len(known))))[0, 0])


def correlation_interval(
    proxy: ArrayLike, scores: ArrayLike, seed: Seed, draws: int = DRAWS
) -> tuple[float, float]:
    """Return the 95 % interval of a proxy's rank correlation with the scores, over examples.

    This is a percentile bootstrap: N examples are drawn with replacement and ranked again. The
    interval is about the choice of examples, not about the choice of seeds.

    Args:
        proxy: [S, N] proxy of S runs; the interval is that of the mean correlation of the runs.
        scores: [N] scores of the same examples.
        seed: seed of the draws.
        draws: number of draws.

    Raises:
        ScoreError: the scores differ in length, or no example has all of them.
    """
    runs, known = _known_to_all(proxy, scores)
    rankings, ranking = [_Ranking(run) for run in runs], _Ranking(known)
    drawn = _times_drawn(len(known), seed, draws)
    means = np.concatenate([_correlations(rankings, ranking, t).mean(axis=0) for t in drawn])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _known_to_all(
    runs: ArrayLike, scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return runs [S, K] and scores [K] of the K examples for which all of them are finite."""
    runs, scores = (np.asarray(values, dtype=np.float64) for values in (runs, scores))
    if runs.ndim != 2 or scores.ndim != 1 or runs.shape[1] != len(scores):
        raise ScoreError(
            "a rank correlation needs two scores of the same examples, one number per example; "
            f"got shapes {runs.shape[1:]} and {scores.shape}."
        )
    known = np.isfinite(scores) & np.isfinite(runs).all(axis=0)
    if not known.any():
        raise ScoreError(
            f"a rank correlation needs examples with both scores; none of {len(scores)} has both. "
            "Score with more models (score.models), or check the scores for NaN."
        )
    return runs[:, known], scores[known]


def _times_drawn(examples: int, seed: Seed, draws: int) -> Iterator[NDArray[np.float64]]:
    """Yield blocks [d, N] of how often each draw takes each example, until all draws are done."""
    for draw in range(0, draws, step := max(1, _CELLS // examples)):
        count = min(step, draws - draw)
        words = [(seed / d).integers(examples, examples) for d in range(draw, draw + count)]
        yield np.stack([np.bincount(w, minlength=examples) for w in words]).astype(np.float64)


def _correlations(
    runs: Sequence["_Ranking"], scores: "_Ranking", times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return rank correlations [S, D] of runs and scores, with times[d, n] copies of example n."""
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
    """The order of values [N], for ranking samples that hold several copies of each value."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.order = np.argsort(values, kind="stable")
        self.group = np.unique(values, return_inverse=True)[1]
        self.starts = np.searchsorted(self.group[self.order], np.arange(self.group.max() + 1))

    def ranks(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the centred ranks [D, N], and the sum [D] of their squares over all copies.

        Equal values share their mean rank.
        """
        sizes = np.add.reduceat(times[:, self.order], self.starts, axis=1)
        middles = sizes.cumsum(axis=1)
        middles -= sizes / 2 + times.sum(axis=1, keepdims=True) / 2
        return middles[:, self.group], np.einsum("dg,dg,dg->d", sizes, middles, middles)
