"""Attacks that know, example by example, what models say that did not learn it.

LiRA: Carlini et al., "Membership inference attacks from first principles", S&P 2022,
https://arxiv.org/abs/2112.03570. RMIA: Zarifzadeh et al., "Low-cost high-power membership inference
attacks", ICML 2024, https://arxiv.org/abs/2312.03262. U-LiRA: Hayes et al., "Inexact unlearning
needs more careful evaluations to avoid a false sense of privacy", 2024,
https://arxiv.org/abs/2403.01218. The pool is the one that estimates memorization.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rum_ray.errors import DataError
from rum_ray.evaluation.mia import auc

Array = NDArray[np.float64]
LEAST_MODELS = 2
"""That must have seen an example, or not: a variance takes two."""
OFFLINE = 0.3
"""RMIA's a: how much of p_out an example keeps when it was learned, p_in = a p_out + 1 - a."""
RATIO = 2.0
"""RMIA's gamma: how much more likely than a population example an example must have become."""


@dataclass(frozen=True, eq=False)
class PoolEvidence:
    """Examples as a model sees them, and as a pool of other models does.

    Attributes:
        logits: [N] logit p_y of the attacked model.
        pool: [M, N] logit p_y of the pool's models.
        included: [M, N] bool, whether model m was trained on example n; of examples that no model
            saw, which models are left out, so that they are judged by as many as the others.
    """

    logits: Array
    pool: Array
    included: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pool.shape != self.included.shape or self.pool.shape[1:] != self.logits.shape:
            raise DataError(
                "a pool's logits and inclusions must both be [models, examples]; their shapes are "
                f"{self.pool.shape} and {self.included.shape}, for {len(self.logits)} examples."
            )


@dataclass(frozen=True)
class AttackResult:
    """How well an attack tells targets from non-members.

    Attributes:
        auc: of the targets' scores over the non-members', in [0, 1]. 0.5 tells nothing, but if the
            same pool chose the targets, they look learned even to a retrained model.
        tpr: share of the targets that are found, by the share of non-members that are taken for
            targets: 0.01 and 0.001. None where there are too few non-members to say.
    """

    auc: float
    tpr: dict[float, float | None]

    @classmethod
    def of(cls, targets: Array, nonmembers: Array) -> "AttackResult":
        """Return the leakage that scores tell of, higher for members.

        Raises:
            DataError: a set is empty, or has a score that is no number.
        """
        unknown = sum(int(np.isnan(scores).sum()) for scores in (targets, nonmembers))
        if unknown:
            raise DataError(
                f"{unknown} scores of an attack are no number (NaN). Look for models whose "
                "predictions are not finite."
            )
        if not len(targets) or not len(nonmembers):
            raise DataError(
                "an attack by scores needs targets and non-members; it was given "
                f"{len(targets)} and {len(nonmembers)}."
            )
        rates = {rate: tpr_at(targets, nonmembers, rate) for rate in (0.01, 0.001)}
        return cls(auc(targets, nonmembers), rates)


def tpr_at(targets: Array, nonmembers: Array, rate: float) -> float | None:
    """Return the share of targets above the threshold that at most `rate` of non-members exceed.

    None where there are fewer than 1 / rate non-members: no threshold has such a rate but those
    that none of them exceeds, which say nothing about it.
    """
    allowed = int(rate * len(nonmembers) + 1e-9)
    if not allowed:
        return None
    return float(np.mean(targets > np.sort(nonmembers)[-1 - allowed]))


def lira_scores(examples: PoolEvidence) -> Array:
    """Return LiRA's offline scores [N], higher for members.

    A score is how many standard deviations the logit lies above the mean of the models that did not
    see the example; the paper's 1 - P[Z > logit] orders alike, and saturates.

    Raises:
        DataError: fewer than two models have not seen an example.
    """
    mean, deviation = _gaussian(examples.pool, ~examples.included, "have not seen it")
    scores: Array = (examples.logits - mean) / deviation
    return scores


def rmia_scores(examples: PoolEvidence, population: PoolEvidence) -> Array:
    """Return RMIA's offline scores [N], in [0, 1], higher for members.

    A score is the share of a population z of never learned examples over which the example has the
    better of it: P_z[r(x) >= gamma r(z)], r = p / ((p_out + p_in) / 2), p_in = a p_out + 1 - a.
    p is the attacked model's probability of the label, p_out its mean over the models that did not
    see the example.

    Raises:
        DataError: fewer than two models have not seen an example.
    """
    gains, least = _gain(examples), np.sort(_gain(population)) * RATIO
    return np.searchsorted(least, gains, side="right") / len(least)


def _gain(examples: PoolEvidence) -> Array:
    """Return how much likelier the label is than for a model that may have seen the example."""
    outside = ~examples.included
    _check(outside, "have not seen it")
    p_out = (expit(examples.pool) * outside).sum(axis=0) / outside.sum(axis=0)
    gain: Array = 2 * expit(examples.logits) / ((1 + OFFLINE) * p_out + 1 - OFFLINE)
    return gain


def pool_lira(targets: PoolEvidence, nonmembers: PoolEvidence) -> AttackResult:
    """Return what offline LiRA tells of the targets against examples that were never learned."""
    return AttackResult.of(lira_scores(targets), lira_scores(nonmembers))


def pool_rmia(targets: PoolEvidence, nonmembers: PoolEvidence) -> AttackResult:
    """Return what offline RMIA tells of the targets; the non-members are its population, too."""
    scores = (rmia_scores(examples, nonmembers) for examples in (targets, nonmembers))
    return AttackResult.of(*scores)


def u_lira(
    unlearned: Array, retrained: Array, shadows: Array, forgotten: NDArray[np.bool_]
) -> AttackResult:
    """Return how well examples that a plan forgot are told from examples that were never learned.

    Shadow models forgot, by the same plan, those examples of the forget set that they had learned.
    So each example has a Gaussian of logit p_y for "forgotten" and one for "never seen". Its score
    is the log of their ratio at the logit that a model gives it: unlearned models make the targets,
    models retrained without the forget set the non-members. 0.5 is indistinguishable.

    Args:
        unlearned: [N] logit p_y of the forget set under the attacked model.
        retrained: [N] the same under a retrained model.
        shadows: [M, N] under shadow models, after the plan.
        forgotten: [M, N] whether shadow model m had learned, and so forgot, example n.

    Raises:
        DataError: fewer than two shadow models forgot an example, or never saw it.
    """
    inside = _gaussian(shadows, forgotten, "forgot it")
    outside = _gaussian(shadows, ~forgotten, "have not seen it")
    scores = (_log_density(x, *inside) - _log_density(x, *outside) for x in (unlearned, retrained))
    return AttackResult.of(*scores)


def _gaussian(pool: Array, chosen: NDArray[np.bool_], what: str) -> tuple[Array, Array]:
    """Return mean and standard deviation [N] over the chosen models of each example."""
    _check(chosen, what)
    count = chosen.sum(axis=0)
    mean = np.where(chosen, pool, 0.0).sum(axis=0) / count
    variance = np.where(chosen, (pool - mean) ** 2, 0.0).sum(axis=0) / (count - 1)
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def _check(chosen: NDArray[np.bool_], what: str) -> None:
    """Raise DataError where an example has fewer than two chosen models."""
    few = int((chosen.sum(axis=0) < LEAST_MODELS).sum())
    if few:
        raise DataError(
            f"a pool attack needs, for each example, {LEAST_MODELS} models that {what}; "
            f"{few} of {chosen.shape[1]} examples have fewer. Give more score.models."
        )


def _log_density(x: Array, mean: Array, deviation: Array) -> Array:
    """Return the log density of a Gaussian, without its constant."""
    density: Array = -(((x - mean) / deviation) ** 2) / 2 - np.log(deviation)
    return density
