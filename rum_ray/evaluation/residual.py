"""The representation residual: traces of a subset in the embeddings of an unlearned model.

Models that are trained separately have embeddings in different bases and units, even from the same
initial weights, so their means cannot be subtracted. Comparable is the position of a subset
*relative to the retain set of its own model*:

shift  = |mu_S - mu_R| / sigma_R,   distance of its centroid from that of the retain set,
spread = sigma_S / sigma_R,         its width,

with sigma^2 the mean squared distance to the centroid. Both are invariant to translation, rotation,
reflection and scaling of a model's embeddings.
"""

import math
from typing import TypeAlias

from rum_ray.scores.entanglement import Moments

Pair: TypeAlias = tuple[Moments, Moments]
"""Moments of the retain set and of a subset, under one model."""


def representation_residual(unlearned: Pair, retrained: Pair) -> float:
    """Return the difference of a subset's position in two models, in [0, inf); lower is better.

    It is the Euclidean distance in (shift, spread), in units of the retain set's spread. A value of
    0 is necessary, but not sufficient, for equal geometry up to translation, rotation and scaling:
    directions, shapes and single examples are not compared. Scaling of single axes changes the
    value. Compare with a noise floor, such as that of a second retrained model.

    Args:
        unlearned: moments of retain set and subset under the unlearned model.
        retrained: moments of retain set and subset under the retrained model.

    Raises:
        ValueError: a set is empty, or a retain set has no spread.
    """
    return math.dist(_shift_and_spread(*unlearned), _shift_and_spread(*retrained))


def _shift_and_spread(retain: Moments, subset: Moments) -> tuple[float, float]:
    """Return shift and spread of a subset."""
    if not retain.count or not subset.count or not retain.scatter > 0:
        raise ValueError(
            "a residual needs two sets that are not empty, and a retain set with positive spread; "
            f"got {retain.count} and {subset.count} embeddings, scatter {retain.scatter}"
        )
    sigma = math.sqrt(retain.scatter / retain.count)
    shift = math.dist(subset.mean, retain.mean) / sigma
    return shift, math.sqrt(subset.scatter / subset.count) / sigma
