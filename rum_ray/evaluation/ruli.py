"""RULI: U-LiRA on the examples that are easiest to find, with models before unlearning."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from rum_ray.evaluation.pool import Array, AttackResult, check_models, gaussian, likelihood_ratio

BANDWIDTH = 1.0
"""Standard deviation of the kernels of a density, in units of logit p_y."""
VULNERABLE = 0.5
"""Share of the forget set that is attacked."""


def ruli(
    unlearned: Array,
    retrained: Array,
    shadows: Array,
    forgotten: NDArray[np.bool_],
    trained: Array,
) -> AttackResult:
    """Return the result of RULI's attack on efficacy: vulnerable examples, unlearned or retrained.

    Reference: Naderloui et al., "Rectifying privacy and efficacy measurements in machine
    unlearning: a new inference attack perspective", USENIX Security 2025,
    https://arxiv.org/abs/2506.13009.

    It differs from U-LiRA in three points. The distribution of "never seen" is that of shadow
    models before they unlearn, which are retrained models of the example; a plan that damages other
    examples is thus found, too. The densities are sums of Gaussian kernels of width 1, in place of
    one Gaussian. The targets are the vulnerable half of the forget set: the examples whose logits
    under the shadow models with and without the example are farthest apart, in standard deviations.

    The published code selects vulnerable examples by the score of LiRA at one model; here all
    shadow models select them. It compares examples that were forgotten with others that were never
    seen; here both sides are the same examples.

    Args:
        unlearned: [N] logit p_y of the forget set under the attacked model.
        retrained: [N] logit p_y of the forget set under a retrained model.
        shadows: [M, N] logit p_y under the shadow models, after unlearning.
        forgotten: [M, N] bool, example n was in the training set of shadow model m.
        trained: [M, N] logit p_y under the shadow models, before unlearning.

    Raises:
        DataError: an example has fewer than two shadow models on either side.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> forgotten = np.array([[True, True], [True, True], [False, False], [False, False]])
        >>> trained = np.array([[9.0, 1.0], [8.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
        >>> shadows = np.array([[4.0, 1.0], [5.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
        >>> unlearned, retrained = np.array([4.5, 0.0]), np.array([0.5, 9.0])
        >>> rr.ruli(unlearned, retrained, shadows, forgotten, trained).auc
        1.0
    """
    found = vulnerable(trained, forgotten)
    learned, never = forgotten[:, found], ~forgotten[:, found]
    check_models(learned, "forgot it")
    inside = partial(_log_density, shadows[:, found], learned)
    outside = partial(_log_density, trained[:, found], never)
    return likelihood_ratio(unlearned[found], retrained[found], inside, outside)


def vulnerable(trained: Array, included: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the places of the vulnerable half of the examples, in ascending order.

    An example is the more vulnerable, the larger (mean_in - mean_out) / sqrt((var_in + var_out) /
    2) over the models that learned it and those that did not. Ties go to the earlier example.
    """
    (mean_in, deviation_in), (mean_out, deviation_out) = (
        gaussian(trained, included, "have seen it"),
        gaussian(trained, ~included, "trained without it"),
    )
    apart = (mean_in - mean_out) / np.sqrt((deviation_in**2 + deviation_out**2) / 2)
    order = np.argsort(-apart, kind="stable")
    return np.sort(order[: math.ceil(VULNERABLE * len(order))])


def _log_density(pool: Array, chosen: NDArray[np.bool_], x: Array) -> Array:
    """Return the log density [N] at x [N] of kernels at the chosen models, up to a constant."""
    kernels = -(((x - pool) / BANDWIDTH) ** 2) / 2
    density: Array = logsumexp(kernels, axis=0, b=chosen) - np.log(chosen.sum(axis=0))
    return density
