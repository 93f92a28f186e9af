"""A classifier two-sample test: can a linear probe tell the forget set from the retain set?

It complements the entanglement score with a familiar scale (Lopez-Paz and Oquab, "Revisiting
classifier two-sample tests", ICLR 2017, https://arxiv.org/abs/1610.06545).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from rum_ray.errors import DataError
from rum_ray.evaluation.mia import auc
from rum_ray.scores.entanglement import validate_embeddings
from rum_ray.seeding import Seed

FOLDS = 5
"""Number of folds of the cross-validation."""


def two_sample_auc(retain: ArrayLike, forget: ArrayLike, seed: Seed) -> float:
    """Return the cross-validated AUC of a linear probe between the sets, in [0, 1].

    Both sets are subsampled to the size of the smaller one. The probe is a logistic regression (L2,
    C = 1) on standardized features; the AUC is the mean over 5 held-out folds. **0.5 is
    indistinguishable, the most entangled**; 1 is linearly separable.

    Args:
        retain: [N_R, D] embeddings of the retain set.
        forget: [N_F, D] embeddings of the forget set.
        seed: seed of the subsample and the folds.

    Raises:
        DataError: a set has fewer than two embeddings.
        ValueError: the sets are not finite, or not [N, D].
    """
    # Importing scikit-learn takes a second, and most commands do not need it.
    from sklearn.linear_model import LogisticRegression

    sets = [validate_embeddings(points, "a two-sample test") for points in (retain, forget)]
    size = min(map(len, sets))
    if size < 2:
        counts = " and ".join(str(len(points)) for points in sets)
        raise DataError(f"a two-sample test needs at least 2 embeddings per set; got {counts}.")
    r, s = (
        points[(seed / name).permutation(len(points))[:size]]
        for name, points in zip(("retain", "forget"), sets, strict=True)
    )
    folds = np.arange(size) % min(FOLDS, size)
    probe = LogisticRegression(max_iter=1000)
    # The number of threads changes the last bits of a fit, which could change a rank. The limit
    # applies to libraries that are already loaded.
    with threadpool_limits(1):
        return float(np.mean([_fold(probe, r, s, folds == fold) for fold in np.unique(folds)]))


def _fold(
    probe: Any,
    retain: NDArray[np.float64],
    forget: NDArray[np.float64],
    held_out: NDArray[np.bool_],
) -> float:
    """Return the AUC on the held-out rows of both sets, of a probe fitted to the other rows."""
    x = np.concatenate([retain[~held_out], forget[~held_out]])
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1.0
    probe.fit((x - mean) / deviation, np.repeat([0, 1], len(x) // 2))
    logits = [probe.decision_function((s[held_out] - mean) / deviation) for s in (forget, retain)]
    return auc(*logits)
