"""Statistics over seeds (t-intervals, paired tests, Holm), of rankings, and of search trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % interval.

    Attributes:
        mean: mean over seeds.
        ci95: half-width of the t-interval; None for one seed.
        values: one value per seed.
    """

    mean: float
    ci95: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike) -> "Mean":
        """Return the mean of one value per seed.

        Raises:
            ValueError: there are no values.
        """
        array = np.asarray(values, dtype=np.float64)
        if not array.size:
            raise ValueError("a mean needs the value of at least one seed; got 0 values")
        half = None
        if len(array) > 1:
            quantile = special.stdtrit(len(array) - 1, 0.975)
            half = float(quantile * array.std(ddof=1) / np.sqrt(len(array)))
        return cls(float(array.mean()), half, tuple(map(float, array)))


@dataclass(frozen=True)
class PairedGap(Mean):
    """|mean of paired differences|, and the mean of |differences|, which noise biases upwards.

    Attributes:
        mean_absolute: mean of |difference|, which is never below `mean`.
    """

    mean_absolute: float

    @classmethod
    def of(cls, values: ArrayLike) -> "PairedGap":
        """Return the gap of signed paired differences, one per seed; its `values` are absolute."""
        signed = Mean.of(values)
        sizes = tuple(map(abs, signed.values))
        return cls(abs(signed.mean), signed.ci95, sizes, float(np.mean(sizes)))


LEAST_SEEDS = 3
"""Minimum number of seeds for a claim: two equal differences give an interval of width zero."""


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of A and B over seeds.

    Attributes:
        mean: mean of A - B.
        low: lower bound of the 95 % interval.
        high: upper bound of the 95 % interval.
        p: p-value of the two-sided paired t-test.
    """

    mean: float
    low: float
    high: float
    p: float


def compare(a: ArrayLike, b: ArrayLike) -> Comparison:
    """Return the paired comparison of two lists of values, one value per seed in each.

    Raises:
        ValueError: there are fewer than two pairs, or the lengths differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            "a paired comparison needs one value per seed from both sides, and at least two seeds; "
            f"got shapes {a.shape} and {b.shape}"
        )
    difference = a - b
    mean = Mean.of(difference)
    half = mean.ci95 or 0.0
    # The t-test needs variance. Without it, the difference is zero (p = 1) or certain (p = 0).
    p = float(mean.mean == 0)
    if half > 0:
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        p = float(2 * special.stdtr(len(difference) - 1, -abs(mean.mean) / error))
    return Comparison(mean.mean, mean.mean - half, mean.mean + half, p)


def detectable(a: ArrayLike, b: ArrayLike, power: float = 0.8) -> float:
    """Return the mean difference that a paired t-test at 5 % finds with a given probability.

    Args:
        a: one value per seed, at least two.
        b: as many values.
        power: the probability.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    degrees = len(difference) - 1
    # The noncentrality at which the statistic exceeds its critical value with this probability.
    needed = special.nctdtrinc(degrees, 1 - power, special.stdtrit(degrees, 0.975))
    return float(error * needed)


def kendall(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Kendall's tau-b of two rankings, in [-1, 1]; None if one of them has only ties."""
    # Importing scipy.stats takes half a second, and only reports need it.
    from scipy.stats import kendalltau

    tau = float(kendalltau(np.asarray(a), np.asarray(b)).statistic)
    return None if np.isnan(tau) else tau


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple comparisons (Holm, 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(order))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = largest
    return [float(p) for p in corrected]


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Return the indices of the Pareto front of low cost and high value, in order of cost."""
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if not front or values[index] > values[front[-1]]:
            front.append(index)
    return front


def expected_best(values: ArrayLike) -> NDArray[np.float64]:
    """Return the expected best value [N] of n = 1 .. N trials; higher is better.

    Trials are modelled as draws from the empirical distribution of the N trials (Dodge et al.,
    "Show your work", EMNLP 2019), so the last value is below the best trial.

    Args:
        values: [N] objectives of the trials.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    total = len(ordered)
    below = np.arange(total + 1)[:, None] / total
    shares = np.diff(below ** np.arange(1, total + 1), axis=0)
    best: NDArray[np.float64] = ordered @ shares
    return best
