"""The representation residual: what is left of a subset in the embeddings of an unlearned model.

Two models that were trained apart have embeddings in different bases and units, even from the same
initial weights, so their means cannot be subtracted. What can be compared is how a subset lies
*relative to the retain set of its own model*:

shift  = |mu_S - mu_R| / sigma_R,   how far its centroid is from the retain set's,
spread = sigma_S / sigma_R,         how wide it is,

with sigma^2 the mean squared distance to the centroid. Both stay the same when a model's embeddings
are moved, rotated, mirrored or scaled.
"""

import math
from typing import TypeAlias

from rum_ray.scores.entanglement import Moments

Pair: TypeAlias = tuple[Moments, Moments]
"""Moments of the retain set and of a subset, under one model."""


def representation_residual(unlearned: Pair, retrained: Pair) -> float:
    """Return how differently a subset lies in two models, in [0, inf); lower is better.

    It is the length of the difference in (shift, spread), in units of the retain set's spread. 0
    says that one model's picture of the two sets may be the other's, moved, rotated and scaled. It
    does not say that it is: directions, shapes and single examples are not seen, and stretching
    single axes changes it. A floor belongs beside it, such as that of a model retrained again.

    Args:
        unlearned: moments of retain set and subset under the unlearned model.
        retrained: the same of the retrained model.

    Raises:
        ValueError: a set is empty, or a retain set has no spread.
    """
    return math.dist(_place(*unlearned), _place(*retrained))


def _place(retain: Moments, subset: Moments) -> tuple[float, float]:
    """Return shift and spread of a subset."""
    if not retain.count or not subset.count or not retain.scatter > 0:
        raise ValueError(
            "a residual needs two sets, and a retain set with some spread; got "
            f"{retain.count} and {subset.count} embeddings, scatter {retain.scatter}"
        )
    sigma = math.sqrt(retain.scatter / retain.count)
    shift = math.dist(subset.mean, retain.mean) / sigma
    return shift, math.sqrt(subset.scatter / subset.count) / sigma
