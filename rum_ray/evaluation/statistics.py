"""Statistics over seeds: t-intervals, paired comparisons, Holm; rank agreement; best trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % interval.

    Attributes:
        mean: the mean.
        ci95: half-width of the t-interval; None for one seed.
        values: what was averaged, by seed.
    """

    mean: float
    ci95: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike) -> "Mean":
        """Return the mean of one number a seed."""
        array = np.asarray(values, dtype=np.float64)
        if not array.size:
            raise ValueError("the mean of no seeds is not defined")
        half = None
        if len(array) > 1:
            quantile = special.stdtrit(len(array) - 1, 0.975)
            half = float(quantile * array.std(ddof=1) / np.sqrt(len(array)))
        return cls(float(array.mean()), half, tuple(map(float, array)))


@dataclass(frozen=True)
class PairedGap(Mean):
    """|mean of paired differences|, and beside it what noise biases upwards.

    Attributes:
        mean_absolute: the mean of |difference|, which is never below `mean`.
    """

    mean_absolute: float

    @classmethod
    def of(cls, values: ArrayLike) -> "PairedGap":
        """Return the gap of signed paired differences, one per seed; `values` are absolute."""
        signed = Mean.of(values)
        sizes = tuple(map(abs, signed.values))
        return cls(abs(signed.mean), signed.ci95, sizes, float(np.mean(sizes)))


LEAST_SEEDS = 3
"""Fewer seeds bear no claim: two differences that happen to agree leave an interval no width."""


@dataclass(frozen=True)
class Comparison:
    """Whether A is better than B, paired by seed.

    Attributes:
        mean: of A - B.
        low: lower end of the 95 % interval.
        high: upper end.
        p: of the two-sided paired t-test.
    """

    mean: float
    low: float
    high: float
    p: float


def compare(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Return the paired difference of two sets of values, one a seed each.

    Raises:
        ValueError: there are fewer than two pairs, or the lengths differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            "a paired comparison needs one value a seed of both, and at least two seeds; "
            f"got shapes {a.shape} and {b.shape}"
        )
    difference = a - b
    mean = Mean.of(difference)
    half = mean.ci95 or 0.0
    # Without variance the t-test is not defined: the difference is certain, or none at all.
    p = float(mean.mean == 0)
    if half > 0:
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        p = float(2 * special.stdtr(len(difference) - 1, -abs(mean.mean) / error))
    return Comparison(mean.mean, mean.mean - half, mean.mean + half, p)


def kendall(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Kendall's tau-b of two orders, in [-1, 1]; None where one of them has only ties."""
    # The rest of SciPy's statistics takes half a second to import, and only reports rank.
    from scipy.stats import kendalltau

    tau = float(kendalltau(np.asarray(a), np.asarray(b)).statistic)
    return None if np.isnan(tau) else tau


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the number of comparisons (Holm, 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = largest
    return [float(p) for p in corrected]


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Return the indices of the points whose value none at most as dear reaches, by rising cost."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if not front or values[index] > values[front[-1]]:
            front.append(index)
    return front


def expected_best(values: ArrayLike) -> NDArray[np.float64]:
    """Return [N] the best of n = 1 .. N trials that one may expect, higher is better.

    Trials are taken as draws from the distribution that the N found ones have (Dodge et al., "Show
    your work", EMNLP 2019), so the last value is below the best trial.

    Args:
        values: [N] what the trials reached.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    total = len(ordered)
    below = np.arange(total + 1)[:, None] / total
    shares = np.diff(below ** np.arange(1, total + 1), axis=0)
    best: NDArray[np.float64] = ordered @ shares
    return best
