"""Forgotten rows against unseen rows of the same class and difficulty: scores and intervals."""

import math

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.pool import tpr_at

Array = NDArray[np.float64]
PEERS = 30
"""Number of unseen rows that are nearest in difficulty and class."""
OTHER_CLASS = 0.1
"""Difference in difficulty that counts as much as another class."""
LEAST_PEERS = 5
"""With fewer unseen rows of its class, a row is compared with unseen rows of all classes."""
SMALLEST_SPREAD = 0.1
"""Least standard deviation of peers, as a share of the median over all rows."""
Z = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


def peer_scores(
    logits: tuple[Array, Array],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
    difficulty: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Return the scores of forgotten rows [F] and of unseen rows [U]; higher looks more learned.

    A score is the number of standard deviations by which the logit of a row exceeds the one that
    its peers have at its difficulty: by a line through the 30 unseen rows that are nearest in
    difficulty, without the row itself. Another class counts as a difference of 0.1. Without
    difficulties, it is the mean of all unseen rows of the class. If forgotten rows are distributed
    as their peers, both scores have the same distribution, whatever was forgotten.

    Args:
        logits: [F] and [U] logit of the label.
        labels: [F] and [U].
        difficulty: [F] and [U] in [0, 1], not affected by membership; higher is harder.

    Example:
        >>> import numpy as np
        >>> unseen, y = np.arange(20.0), np.zeros(20, dtype=np.int64)
        >>> forgotten, others = peer_scores((np.array([40.0]), unseen), (y[:1], y))
        >>> bool(forgotten[0] > others.max())
        True
    """
    forget_means, forget_spreads = _peers(labels[0], logits[1], labels[1], difficulty, own=False)
    means, spreads = _peers(labels[1], logits[1], labels[1], difficulty, own=True)
    least = SMALLEST_SPREAD * float(np.median(spreads)) or 1e-6
    forgotten: Array = (logits[0] - forget_means) / np.maximum(forget_spreads, least)
    unseen: Array = (logits[1] - means) / np.maximum(spreads, least)
    return forgotten, unseen


def _peers(
    labels: NDArray[np.int64],
    unseen: Array,
    unseen_labels: NDArray[np.int64],
    difficulty: tuple[Array, Array] | None,
    own: bool,
) -> tuple[Array, Array]:
    """Return the logit that the peers of each row have at its difficulty, and their spread.

    Args:
        labels: of the rows.
        unseen: logits of the unseen rows.
        unseen_labels: labels of the unseen rows.
        difficulty: of forgotten and of unseen rows.
        own: True if the rows are the unseen ones; a row is then no peer of itself.
    """
    means, spreads = np.zeros((2, len(labels)))
    rows = np.arange(len(unseen))
    for row, label in enumerate(labels):
        others = unseen_labels != label
        if difficulty is None:
            near = rows[~others] if len(others) - others.sum() >= LEAST_PEERS + own else rows
            near = near[near != row] if own else near
            away = np.zeros(len(near))
        else:
            away = difficulty[1] - difficulty[1 if own else 0][row]
            far = np.abs(away) + OTHER_CLASS * others
            if own:
                far[row] = np.inf
            near = np.argsort(far, kind="stable")[: min(PEERS, len(rows) - own)]
            away = away[near]
        means[row], spreads[row] = _at_zero(away, unseen[near])
    return means, spreads


def _at_zero(away: Array, logits: Array) -> tuple[float, float]:
    """Return the value at 0 of a line through points, and the spread around the line."""
    x, y = away - away.mean(), logits - logits.mean()
    square = float(x @ x)
    slope = float(x @ y) / square if square > 0 else 0.0
    return float(logits.mean() - slope * away.mean()), float((y - slope * x).std())


def auc_interval(targets: Array, nonmembers: Array) -> tuple[float, float, float]:
    """Return the AUC and its 95 % interval.

    The ends are the AUCs that are 1.96 of their standard errors away, with the variance of Hanley
    and McNeil at that end (Newcombe, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", Statistics in Medicine 2006, method 5). The interval is not
    empty at an AUC of 0 or 1.

    Example:
        >>> import numpy as np
        >>> [round(x, 2) for x in auc_interval(np.arange(10.0) + 20, np.arange(10.0))]
        [1.0, 0.72, 1.0]
    """
    value, m, n = auc(targets, nonmembers), len(targets), len(nonmembers)
    return value, _end(value, m, n, 0.0), _end(value, m, n, 1.0)


def _end(value: float, m: int, n: int, bound: float) -> float:
    """Return the AUC between `value` and `bound` that is 1.96 standard errors from `value`."""
    near, far = value, bound
    for _ in range(60):
        middle = (near + far) / 2
        error = Z * math.sqrt(_variance(middle, m, n))
        near, far = (middle, far) if abs(value - middle) < error else (near, middle)
    return (near + far) / 2


def _variance(area: float, m: int, n: int) -> float:
    """Return the variance of an AUC of m and n rows."""
    half = (m + n) / 2 - 1
    inner = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * inner / (m * n)


def share_interval(hits: int, total: int) -> tuple[float, float, float]:
    """Return a share and its 95 % interval (Wilson, 1927).

    Example:
        >>> [round(x, 3) for x in share_interval(8, 10)]
        [0.8, 0.49, 0.943]
    """
    share, square = hits / total, Z**2 / total
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def change_interval(
    before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return the change of a share on the same rows and its 95 % interval, paired by row.

    The interval has half a row more in each cell (Agresti and Min, "Simple improved confidence
    intervals for comparing matched proportions", Statistics in Medicine 2005).

    Example:
        >>> import numpy as np
        >>> before, after = np.ones(100, dtype=bool), np.arange(100) >= 5
        >>> [round(x, 3) for x in change_interval(before, after)]
        [-0.05, -0.097, -0.001]
    """
    gained, lost, total = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    up, down, count = gained + 0.5, lost + 0.5, total + 2
    middle = (up - down) / count
    half = Z * math.sqrt(max(0.0, (up + down) / count - middle**2) / count)
    return (gained - lost) / total, max(-1.0, middle - half), min(1.0, middle + half)


def tpr_interval(
    targets: Array, nonmembers: Array, rate: float
) -> tuple[float, float, float] | None:
    """Return the true positive rate at a false positive rate and its 95 % interval.

    None if there are too few non-members for the rate. The interval is that of the targets; the
    threshold is taken as given.
    """
    share = tpr_at(targets, nonmembers, rate)
    return None if share is None else share_interval(round(share * len(targets)), len(targets))
