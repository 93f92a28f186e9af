"""Attacks with per-example evidence: predictions of pool models trained without the example.

LiRA: Carlini et al., "Membership inference attacks from first principles", S&P 2022,
https://arxiv.org/abs/2112.03570. RMIA: Zarifzadeh et al., "Low-cost high-power membership inference
attacks", ICML 2024, https://arxiv.org/abs/2312.03262. U-LiRA: Hayes et al., "Inexact unlearning
needs more careful evaluations to avoid a false sense of privacy", 2024,
https://arxiv.org/abs/2403.01218. The pool is that of the memorization estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rum_ray.errors import DataError
from rum_ray.evaluation.mia import auc

Array = NDArray[np.float64]
LEAST_MODELS = 2
"""Minimum number of models per example on each side, because a variance needs two."""
OFFLINE = 0.3
"""RMIA's a, of the estimate p_in = a p_out + 1 - a."""
RATIO = 2.0
"""RMIA's gamma: smallest likelihood ratio of an example to a population example."""


@dataclass(frozen=True, eq=False)
class PoolEvidence:
    """Predictions of the attacked model and of a pool of models, on the same examples.

    Attributes:
        logits: [N] logit p_y of the attacked model.
        pool: [M, N] logit p_y of the pool models.
        included: [M, N] bool, model m is trained on example n. For examples outside the training
            set of every model, it marks the models to leave out, so that each example is compared
            with equally many models.

    Raises:
        DataError: the shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> pool = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
        >>> included = np.array([[False, False], [False, False], [True, True]])
        >>> evidence = rr.PoolEvidence(np.array([5.0, 4.0]), pool, included)
        >>> evidence.included.sum(axis=0)
        array([1, 1])
    """

    logits: Array
    pool: Array
    included: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pool.shape != self.included.shape or self.pool.shape[1:] != self.logits.shape:
            raise DataError(
                "pool and included must both have shape [models, examples]; got "
                f"{self.pool.shape} and {self.included.shape}, for {len(self.logits)} examples."
            )


@dataclass(frozen=True)
class AttackResult:
    """How well an attack separates targets from non-members.

    Attributes:
        auc: AUC of the targets' scores over the non-members', in [0, 1]. 0.5 is chance. If the same
            pool selected the targets, their AUC is above 0.5 even for a retrained model.
        tpr: true positive rate at false positive rates of 0.01 and 0.001, by false positive rate.
            None if there are too few non-members for the rate.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> rr.AttackResult.of(np.array([2.0, 3.0]), nonmembers=np.array([0.0, 1.0]))
        AttackResult(auc=1.0, tpr={0.01: None, 0.001: None})
    """

    auc: float
    tpr: dict[float, float | None]

    @classmethod
    def of(cls, targets: Array, nonmembers: Array) -> "AttackResult":
        """Return the result of an attack, from its scores; higher looks more like a member.

        Args:
            targets: [N] scores of the targets.
            nonmembers: [M] scores of the non-members.

        Raises:
            DataError: a set is empty, or a score is NaN.
        """
        unknown = sum(int(np.isnan(scores).sum()) for scores in (targets, nonmembers))
        if unknown:
            raise DataError(
                f"{unknown} scores of an attack are NaN. Check the models for predictions that are "
                "not finite."
            )
        if not len(targets) or not len(nonmembers):
            raise DataError(
                "an attack needs at least one target and one non-member; got "
                f"{len(targets)} and {len(nonmembers)}."
            )
        rates = {rate: tpr_at(targets, nonmembers, rate) for rate in (0.01, 0.001)}
        return cls(auc(targets, nonmembers), rates)


def tpr_at(targets: Array, nonmembers: Array, rate: float) -> float | None:
    """Return the true positive rate at the threshold with a false positive rate of at most `rate`.

    None if there are fewer than 1 / rate non-members: their number cannot resolve such a rate.
    """
    allowed = int(rate * len(nonmembers) + 1e-9)
    if not allowed:
        return None
    return float(np.mean(targets > np.sort(nonmembers)[-1 - allowed]))


def lira_scores(examples: PoolEvidence) -> Array:
    """Return the offline LiRA scores [N]; higher looks more like a member.

    A score is the number of standard deviations by which the logit exceeds the mean of the models
    trained without the example. The paper's 1 - P[Z > logit] has the same order, but saturates.

    Raises:
        DataError: an example has fewer than two models trained without it.
    """
    mean, deviation = gaussian(examples.pool, ~examples.included, "trained without it")
    scores: Array = (examples.logits - mean) / deviation
    return scores


def rmia_scores(examples: PoolEvidence, population: PoolEvidence) -> Array:
    """Return the offline RMIA scores [N], in [0, 1]; higher looks more like a member.

    A score is the fraction of a population of held-out examples z that the example dominates:
    P_z[r(x) >= gamma r(z)], with r = p / ((p_out + p_in) / 2) and p_in = a p_out + 1 - a. Here p is
    the attacked model's probability of the label, and p_out the mean probability under the models
    trained without the example.

    Raises:
        DataError: an example has fewer than two models trained without it.
    """
    gains, least = _gain(examples), np.sort(_gain(population)) * RATIO
    return np.searchsorted(least, gains, side="right") / len(least)


def _gain(examples: PoolEvidence) -> Array:
    """Return RMIA's ratio r [N] of each example."""
    outside = ~examples.included
    check_models(outside, "trained without it")
    p_out = (expit(examples.pool) * outside).sum(axis=0) / outside.sum(axis=0)
    gain: Array = 2 * expit(examples.logits) / ((1 + OFFLINE) * p_out + 1 - OFFLINE)
    return gain


def pool_lira(targets: PoolEvidence, nonmembers: PoolEvidence) -> AttackResult:
    """Return the result of offline LiRA on the targets against held-out examples.

    Reference: Carlini et al., "Membership inference attacks from first principles", S&P 2022,
    https://arxiv.org/abs/2112.03570.

    Args:
        targets: evidence on the forget set.
        nonmembers: evidence on held-out examples.

    Raises:
        DataError: an example has fewer than two models trained without it.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> pool, included = np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros((2, 2), dtype=bool)
        >>> targets = rr.PoolEvidence(np.array([5.0, 4.0]), pool, included)
        >>> nonmembers = rr.PoolEvidence(np.array([0.5, 0.2]), pool, included)
        >>> rr.pool_lira(targets, nonmembers).auc
        1.0
    """
    return AttackResult.of(lira_scores(targets), lira_scores(nonmembers))


def pool_rmia(targets: PoolEvidence, nonmembers: PoolEvidence) -> AttackResult:
    """Return the result of offline RMIA on the targets; the non-members are also its population.

    Reference: Zarifzadeh et al., "Low-cost high-power membership inference attacks", ICML 2024,
    https://arxiv.org/abs/2312.03262.

    Args:
        targets: evidence on the forget set.
        nonmembers: evidence on held-out examples.

    Raises:
        DataError: an example has fewer than two models trained without it.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> pool, included = np.full((2, 2), -2.0), np.zeros((2, 2), dtype=bool)
        >>> targets = rr.PoolEvidence(np.array([5.0, 4.0]), pool, included)
        >>> nonmembers = rr.PoolEvidence(np.array([-2.0, -1.0]), pool, included)
        >>> rr.pool_rmia(targets, nonmembers).auc
        1.0
    """
    scores = (rmia_scores(examples, nonmembers) for examples in (targets, nonmembers))
    return AttackResult.of(*scores)


def u_lira(
    unlearned: Array, retrained: Array, shadows: Array, forgotten: NDArray[np.bool_]
) -> AttackResult:
    """Return the result of U-LiRA: unlearned examples against examples that were never learned.

    Reference: Hayes et al., "Inexact unlearning needs more careful evaluations to avoid a false
    sense of privacy", 2024, https://arxiv.org/abs/2403.01218.

    Each shadow model unlearns, by the same plan, the examples of the forget set in its training
    set. Each example thus has one Gaussian of logit p_y for "forgotten" and one for "never seen".
    Its score is their log likelihood ratio at a model's logit. The unlearned model gives the
    targets, a model retrained without the forget set the non-members. An AUC of 0.5 is
    indistinguishable.

    Args:
        unlearned: [N] logit p_y of the forget set under the attacked model.
        retrained: [N] logit p_y of the forget set under a retrained model.
        shadows: [M, N] logit p_y under the shadow models, after unlearning.
        forgotten: [M, N] bool, example n was in the training set of shadow model m.

    Raises:
        DataError: an example has fewer than two shadow models on either side.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> shadows = np.array([[4.0, 5.0], [5.0, 4.0], [0.0, 1.0], [1.0, 0.0]])
        >>> forgotten = np.array([[True, True], [True, True], [False, False], [False, False]])
        >>> unlearned, retrained = np.array([4.5, 4.0]), np.array([0.5, 0.0])
        >>> rr.u_lira(unlearned, retrained, shadows, forgotten).auc
        1.0
    """
    inside = partial(_log_density, *gaussian(shadows, forgotten, "forgot it"))
    outside = partial(_log_density, *gaussian(shadows, ~forgotten, "trained without it"))
    return likelihood_ratio(unlearned, retrained, inside, outside)


def likelihood_ratio(
    unlearned: Array,
    retrained: Array,
    inside: Callable[[Array], Array],
    outside: Callable[[Array], Array],
) -> AttackResult:
    """Return the result of log likelihood ratios: the unlearned model against a retrained one.

    Args:
        unlearned: [N] logit p_y under the attacked model; its ratios are those of the targets.
        retrained: [N] logit p_y under a retrained model; its ratios are those of the non-members.
        inside: log density [N] of logits [N] of forgotten examples.
        outside: log density [N] of logits [N] of examples that were never learned.
    """
    return AttackResult.of(*(inside(x) - outside(x) for x in (unlearned, retrained)))


def gaussian(pool: Array, chosen: NDArray[np.bool_], role: str) -> tuple[Array, Array]:
    """Return mean and standard deviation [N] over the chosen models of each example."""
    check_models(chosen, role)
    count = chosen.sum(axis=0)
    mean = np.where(chosen, pool, 0.0).sum(axis=0) / count
    variance = np.where(chosen, (pool - mean) ** 2, 0.0).sum(axis=0) / (count - 1)
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def check_models(chosen: NDArray[np.bool_], role: str) -> None:
    """Raise DataError if an example has fewer than two chosen models."""
    few = int((chosen.sum(axis=0) < LEAST_MODELS).sum())
    if few:
        raise DataError(
            f"a pool attack needs {LEAST_MODELS} models per example that {role}; "
            f"{few} of {chosen.shape[1]} examples have fewer. Increase score.models."
        )


def _log_density(mean: Array, deviation: Array, x: Array) -> Array:
    """Return the log density of a Gaussian, up to a constant."""
    density: Array = -(((x - mean) / deviation) ** 2) / 2 - np.log(deviation)
    return density
