"""IAM: how complete unlearning is, between the original model and models without the example."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
PLACES = 100
"""Number of places between a model without the example and the original."""
OFFSETS = 1e-2, 1e-5
"""Constants that keep the two logarithms of the signal finite."""
EULER = float(np.euler_gamma)


def iam(unlearned: Array, original: Array, shadows: Array) -> float:
    """Return the mean completeness of unlearning over the forget set, in [0, 1].

    Reference: Wang et al., "Towards lifecycle unlearning commitment management: measuring
    sample-level unlearning completeness", USENIX Security 2025, https://arxiv.org/abs/2506.06112.

    The signal of a model on an example is s = -log(0.01 - log(p_y + 1e-5)). At the places a = 0,
    1/99, ..., 98/99 between a shadow model m and the original o, it is s_m + a (s_o - s_m). Over
    all shadow models, these signals have a mean per example and one standard deviation, over models
    and examples, which define a Gumbel distribution F_a by its moments. The completeness of an
    example is 1 - sum w F_a(s) / sum w, with s of the unlearned model and w = a + 1/99, as in the
    published code.

    Near 0 is a model that fits the examples as the original does, 1 one that fits them worse than
    any model without them: over-unlearning. A retrained model is somewhat below 1, so the gap to it
    counts, not the distance to 1. No pool is needed; one model without the examples is enough.

    Args:
        unlearned: [N] logit p_y of the forget set under the attacked model.
        original: [N] logit p_y under the original.
        shadows: [M, N] logit p_y under M models trained without the forget set.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> original, shadows = np.array([6.0, 7.0]), np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> round(rr.iam(original, original, shadows), 2)
        0.01
        >>> round(rr.iam(np.array([-4.0, -4.0]), original, shadows), 2)
        1.0
    """
    return float(completeness(unlearned, original, shadows).mean())


def completeness(unlearned: Array, original: Array, shadows: Array) -> Array:
    """Return the completeness [N] of unlearning of each example.

    `iam` has the formula and the arguments.
    """
    own, fitted, free = (_signal(x) for x in (unlearned, original, shadows))
    places = np.arange(PLACES - 1) / (PLACES - 1)
    weights = places + 1 / (PLACES - 1)
    learned: Array = np.zeros(len(own))
    for place, weight in zip(places, weights, strict=True):
        between = free + place * (fitted - free)
        scale = math.sqrt(6) / math.pi * max(float(between.std()), 1e-10)
        location = between.mean(axis=0) - EULER * scale
        # Below -700, the inner exponential overflows and the distribution is 0.
        reduced = np.maximum((own - location) / scale, -700.0)
        learned += weight * np.exp(-np.exp(-reduced))
    found: Array = 1 - learned / weights.sum()
    return found


def _signal(logits: Array) -> Array:
    """Return the signal of each logit p_y; higher fits better."""
    outer, inner = OFFSETS
    signal: Array = -np.log(outer - np.log(expit(logits) + inner))
    return signal
