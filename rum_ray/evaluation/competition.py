"""Forgetting quality of the NeurIPS 2023 unlearning competition: an epsilon per example."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import DataError

Array = NDArray[np.float64]
LEAST_SEEDS = 3
"""Minimum number of models on each side: with two, every finite epsilon is 0."""
DELTA = 1e-5
"""The delta of (epsilon, delta)-unlearning."""
BIN = 0.5
"""Width of a bin of epsilon; an example of the next bin counts half."""
PEAKED = 0.01
"""Ratio of the ranges of two distributions below which they count as separate."""


def forgetting_quality(unlearned: Array, retrained: Array) -> float:
    """Return the forgetting quality, in [0, 1]; 1 is indistinguishable from retraining.

    Reference: Triantafillou et al., "Are we making progress in unlearning? Findings from the first
    NeurIPS unlearning competition", 2024, https://arxiv.org/abs/2406.09073.

    Attacks decide from the logit p_y of one model if it is unlearned or retrained. One with a
    threshold takes the models at or above it for the kind with the larger median; one with an
    interval takes those inside for the kind with the smaller range. With the rates FPR and FNR of
    its errors, its epsilon is the larger of log((1 - delta - FPR) / FNR) and log((1 - delta - FNR)
    / FPR), delta = 1e-5. It is infinite without errors. An attack with one kind of errors only is
    left out: the other rate is below the resolution of the models. An example has the epsilon of
    its best attack, at least 0.

    An epsilon in bin b = 0, 1, ... of width 0.5 counts 2^-b. The bins end at ceil(log(n - 1)) for n
    models, since no finite epsilon exceeds log(n - 1); an epsilon above counts 0. The quality is
    the mean over the examples. The competition multiplies it by the ratios of the accuracies on R
    and T, which are metrics of their own here.

    All thresholds and intervals between models count. The published code tries a grid, and only
    intervals about as wide as the smaller range, so its epsilons are at most these. As there, an
    example has an infinite epsilon if one range is below 1 % of the other.

    The best of many attacks finds a difference by chance: compare with other retrained models.

    Args:
        unlearned: [M, N] logit p_y of M unlearned models.
        retrained: [L, N] logit p_y of L retrained models.

    Raises:
        DataError: there are fewer than three models on a side.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> retrained = np.arange(20.0)[:, None]
        >>> rr.forgetting_quality(retrained, retrained)
        1.0
        >>> rr.forgetting_quality(retrained + 1, retrained)
        0.5
    """
    least = min(len(unlearned), len(retrained))
    if least < LEAST_SEEDS:
        raise DataError(
            f"the forgetting quality needs at least {LEAST_SEEDS} models of both kinds; there are "
            f"{len(unlearned)} unlearned and {len(retrained)} retrained ones. Give more seeds."
        )
    bins = math.ceil(math.log(least - 1)) / BIN
    places = np.floor(epsilons(unlearned, retrained) / BIN)
    return float(np.where(places < bins, 0.5**places, 0.0).mean())


def epsilons(unlearned: Array, retrained: Array) -> Array:
    """Return the epsilon [N] of each example: that of the attack that tells most.

    `forgetting_quality` defines the attacks.

    Args:
        unlearned: [M, N] logit p_y of M unlearned models.
        retrained: [L, N] logit p_y of L retrained models.
    """
    pairs = zip(np.transpose(unlearned), np.transpose(retrained), strict=True)
    return np.array([_epsilon(*pair) for pair in pairs])


def _epsilon(unlearned: Array, retrained: Array) -> float:
    """Return the epsilon of one example, from its logits [M] and [L]."""
    ranges = [float(np.ptp(side)) for side in (unlearned, retrained)]
    if min(ranges) < PEAKED * max(ranges):
        return math.inf
    cuts = np.append(np.unique(np.concatenate([unlearned, retrained])), np.inf)
    sizes = len(unlearned), len(retrained)
    below = [np.searchsorted(np.sort(side), cuts) for side in (unlearned, retrained)]
    high = int(np.median(retrained) > np.median(unlearned))
    threshold = _best(below[high] / sizes[high], 1 - below[1 - high] / sizes[1 - high])
    # Of equal ranges, the side with the smaller median is inside.
    narrow = 1 - high if ranges[0] == ranges[1] else int(np.argmin(ranges))
    first, last = np.triu_indices(len(cuts), 1)
    inside = [(counts[last] - counts[first]) / n for counts, n in zip(below, sizes, strict=True)]
    return max(threshold, _best(1 - inside[narrow], inside[1 - narrow]))


def _best(fnr: NDArray[np.floating[Any]], fpr: NDArray[np.floating[Any]]) -> float:
    """Return the largest epsilon of attacks with these rates; 0 if all are left out."""
    if ((fnr == 0) & (fpr == 0)).any():
        return math.inf
    known = (fnr > 0) & (fpr > 0)
    fnr, fpr = fnr[known], fpr[known]
    tiny = np.finfo(np.float64).tiny
    right = [np.log(np.maximum(1 - DELTA - rate, tiny)) for rate in (fpr, fnr)]
    larger = np.maximum(right[0] - np.log(fnr), right[1] - np.log(fpr))
    return float(larger.max(initial=0.0))
