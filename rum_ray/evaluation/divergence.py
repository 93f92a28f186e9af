"""Divergence from the predictions of retrained models: Jensen-Shannon divergence and KLoM."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import DataError
from rum_ray.evaluation.mia import LARGEST_LOGIT

Array = NDArray[np.floating[Any]]
BINS = 20
"""Number of bins of a KLoM histogram."""
LEAST_SHARE = 1e-5
"""Lower bound of the fraction of retrained models in a bin."""


def jensen_shannon(p: Array, q: Array) -> NDArray[np.float64]:
    """Return the Jensen-Shannon divergence [N] of each example, in bits, in [0, 1]; 0 is equal.

    (Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory, 1991.)

    Args:
        p: [N, K] probabilities of one model.
        q: [N, K] probabilities of another model.

    Example:
        >>> import rum_ray as rr
        >>> rr.jensen_shannon([[1.0, 0.0], [0.7, 0.3]], [[0.0, 1.0], [0.7, 0.3]])
        array([1., 0.])
    """
    p, q = (np.asarray(x, dtype=np.float64) for x in (p, q))
    middle = (p + q) / 2
    divergence: NDArray[np.float64] = (_relative(p, middle) + _relative(q, middle)) / 2
    return np.clip(divergence, 0.0, 1.0)


def _relative(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(p || q) over the last axis, in bits; q must be positive where p is."""
    terms = p * np.log2(np.divide(p, q, out=np.ones_like(p), where=p > 0))
    divergence: NDArray[np.float64] = terms.sum(axis=-1)
    return divergence


def klom(unlearned: Array, retrained: Array) -> NDArray[np.float64]:
    """Return the KL divergence of margins [N] of each example, in nats; 0 is indistinguishable.

    For each example, the margins (logit p_y, clipped to +-100) of all unlearned models form one
    histogram, and those of all retrained models another. Both have 20 equal bins from the minimum
    to the maximum margin. KLoM is KL(unlearned || retrained); a bin without a retrained model
    counts as 1e-5 (Georgiev et al., 2024, appendix E.1, https://arxiv.org/abs/2410.23232). With
    few models, bins are empty by chance. Compare with the KLoM of other retrained models.

    Args:
        unlearned: [M, N] logit p_y of M unlearned models.
        retrained: [L, N] logit p_y of L retrained models.

    Raises:
        DataError: there are fewer models than bins.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> margins = np.linspace(-1, 1, 20)[:, None]
        >>> rr.klom(margins, margins)
        array([0.])
        >>> rr.klom(margins, margins + 90).round(1)
        array([11.5])
    """
    if min(len(unlearned), len(retrained)) < BINS:
        raise DataError(
            f"KLoM needs at least {BINS} models of both kinds, one per bin; there are "
            f"{len(unlearned)} unlearned and {len(retrained)} retrained ones. Give more seeds."
        )
    u, r = (np.clip(x, -LARGEST_LOGIT, LARGEST_LOGIT) for x in (unlearned, retrained))
    low = np.minimum(u.min(axis=0), r.min(axis=0))
    width = np.maximum(u.max(axis=0), r.max(axis=0)) - low
    # With a constant margin, both histograms lie in one bin.
    width = np.where(width > 0, width, 1.0)
    p, q = (_histogram(np.minimum((x - low) / width * BINS, BINS - 1)) for x in (u, r))
    q = np.maximum(q, LEAST_SHARE)
    terms = p * np.log(np.divide(p, q, out=np.ones_like(p), where=p > 0))
    divergence: NDArray[np.float64] = terms.sum(axis=0)
    return divergence


def _histogram(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of models [BINS, N] in each bin, from positions [M, N] in bins."""
    bins = places.astype(np.int64)
    return np.stack([(bins == number).mean(axis=0) for number in range(BINS)])
