"""How far predictions are from those of retrained models: Jensen-Shannon divergence and KLoM."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import DataError
from rum_ray.evaluation.mia import LARGEST_LOGIT

Array = NDArray[np.floating[Any]]
BINS = 20
LEAST_SHARE = 1e-5


def jensen_shannon(p: Array, q: Array) -> NDArray[np.float64]:
    """Return each example's Jensen-Shannon divergence [N], in bits, so in [0, 1].

    Args:
        p: [N, K] probabilities of one model.
        q: [N, K] of another.
    """
    p, q = (np.asarray(x, dtype=np.float64) for x in (p, q))
    middle = (p + q) / 2
    divergence: NDArray[np.float64] = (_relative(p, middle) + _relative(q, middle)) / 2
    return np.clip(divergence, 0.0, 1.0)


def _relative(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return KL(p || q) in bits over the last axis; q is positive where p is."""
    terms = p * np.log2(np.divide(p, q, out=np.ones_like(p), where=p > 0))
    divergence: NDArray[np.float64] = terms.sum(axis=-1)
    return divergence


def klom(unlearned: Array, retrained: Array) -> NDArray[np.float64]:
    """Return each example's KL divergence of margins [N], in nats; 0 is indistinguishable.

    Over models, the margins (logit p_y, cut at +-100) of one example under unlearning have one
    histogram, those under retraining another, both with 20 equal bins from the least to the largest
    margin. KLoM is KL(unlearned || retrained), where a bin that no retrained model is in counts as
    1e-5 (Georgiev et al., 2024, appendix E.1, https://arxiv.org/abs/2410.23232). Few models leave
    bins empty by chance, so it is read beside the same number for other retrained models.

    Args:
        unlearned: [M, N] logit p_y of M unlearned models.
        retrained: [L, N] of L retrained models.

    Raises:
        DataError: there are fewer models than bins.
    """
    if min(len(unlearned), len(retrained)) < BINS:
        raise DataError(
            f"KLoM has {BINS} bins and needs as many models of both kinds; there are "
            f"{len(unlearned)} unlearned and {len(retrained)} retrained ones. Give more seeds."
        )
    u, r = (np.clip(x, -LARGEST_LOGIT, LARGEST_LOGIT) for x in (unlearned, retrained))
    low = np.minimum(u.min(axis=0), r.min(axis=0))
    width = np.maximum(u.max(axis=0), r.max(axis=0)) - low
    # An example with the same margin everywhere has both histograms in one bin.
    width = np.where(width > 0, width, 1.0)
    p, q = (_histogram(np.minimum((x - low) / width * BINS, BINS - 1)) for x in (u, r))
    q = np.maximum(q, LEAST_SHARE)
    terms = p * np.log(np.divide(p, q, out=np.ones_like(p), where=p > 0))
    divergence: NDArray[np.float64] = terms.sum(axis=0)
    return divergence


def _histogram(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of models [BINS, N] in each bin, from their places [M, N]."""
    bins = places.astype(np.int64)
    return np.stack([(bins == number).mean(axis=0) for number in range(BINS)])
