"""Membership inference: can an attacker tell the forget set from held-out data?

A set is a pair of predicted probabilities [N, K] and labels [N].
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import DataError

Predictions: TypeAlias = tuple[NDArray[np.floating[Any]], NDArray[np.int64]]
LEAST_LEARNED = 2
"""Minimum number of members, and of non-members, to fit an attack."""
ROUNDING = 1e-6
"""Tolerance above 1 for probabilities."""
Feature = Literal["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]


def svm_attack(
    members: Predictions,
    nonmembers: Predictions,
    targets: Predictions,
    feature: Feature = "confidence",
) -> float:
    """Return the fraction of targets that the attack classifies as non-members, in [0, 1].

    Reference: Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS 2024,
    https://arxiv.org/abs/2406.01257.

    This is the attack of the RUM paper: a support vector machine (RBF, C = 3, gamma = 1 / features)
    separates members from non-members by one feature of the prediction. Higher looks more
    forgotten. The first n = min(|members|, |non-members|) of each are used.

    Args:
        members: predictions on the retain set.
        nonmembers: predictions on held-out data.
        targets: predictions on the forget set.
        feature: "confidence", the probability of the label; "correctness" of the prediction;
            "entropy" in nats; "modified_entropy", which is low only for a confident and right
            prediction (Song and Mittal, USENIX Security 2021, section 4.1,
            https://arxiv.org/abs/2003.10595); or all "probabilities".

    Raises:
        DataError: a set is too small, or no valid predictions.
        ValueError: the feature is unknown.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> members = np.array([[0.9, 0.1], [0.8, 0.2], [1.0, 0.0]]), np.array([0, 0, 0])
        >>> nonmembers = np.array([[0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]), np.array([0, 0, 0])
        >>> targets = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 0])
        >>> rr.svm_attack(members, nonmembers, targets)
        0.5
    """
    # Importing scikit-learn takes a second, and most commands do not need it.
    from sklearn.svm import SVC

    sets = {"members": members, "non-members": nonmembers, "targets": targets}
    _check("SVM", sets, LEAST_LEARNED)
    n = min(len(members[1]), len(nonmembers[1]))
    x = np.concatenate([_feature(members, feature)[:n], _feature(nonmembers, feature)[:n]])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
    return float(np.mean(attack.predict(_feature(targets, feature)) == 0))


def threshold_attack(
    members: Predictions,
    nonmembers: Predictions,
    targets: Predictions,
) -> float:
    """Return the fraction of targets that the attack classifies as non-members, in [0, 1].

    Reference: Song and Mittal, "Systematic evaluation of privacy risks of machine learning
    models", USENIX Security 2021, https://arxiv.org/abs/2003.10595.

    Examples with a confidence of at least a threshold are classified as members. The threshold
    maximizes balanced accuracy on members and non-members; ties go to the lowest (Song and Mittal,
    USENIX Security 2021, section 4.1, https://arxiv.org/abs/2003.10595, with one threshold per
    class). Higher looks more forgotten.

    Args:
        members: predictions on the retain set.
        nonmembers: predictions on held-out data.
        targets: predictions on the forget set.

    Raises:
        DataError: a set is too small, or no valid predictions.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> members = np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 0])
        >>> nonmembers = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0])
        >>> targets = np.array([[0.95, 0.05], [0.5, 0.5]]), np.array([0, 0])
        >>> rr.threshold_attack(members, nonmembers, targets)
        0.5
    """
    sets = {"members": members, "non-members": nonmembers, "targets": targets}
    _check("threshold", sets, LEAST_LEARNED)
    inside, outside, attacked = (label_logit(*set_) for set_ in sets.values())
    return float(np.mean(attacked < _threshold(inside, outside)))


def _threshold(members: NDArray[np.float64], nonmembers: NDArray[np.float64]) -> float:
    """Return the threshold that best separates members, at or above it, from non-members."""
    candidates = np.append(np.unique(np.concatenate([members, nonmembers])), np.inf)
    missed = np.searchsorted(np.sort(members), candidates) / len(members)
    rejected = np.searchsorted(np.sort(nonmembers), candidates) / len(nonmembers)
    return float(candidates[np.argmax(rejected - missed)])


def _check(attack: str, sets: Mapping[str, Predictions], least: int = 1) -> None:
    """Raise DataError unless all sets are large enough, and predictions of the same classes.

    Args:
        attack: name of the attack, for the message.
        sets: predictions by name of the set.
        least: minimum size of members and non-members; the minimum of the targets is 1.
    """
    widths = set()
    for name, (probabilities, labels) in sets.items():
        p, y = np.asarray(probabilities), np.asarray(labels)
        needed = 1 if name == "targets" else least
        if y.size < needed:
            raise DataError(f"the {attack} attack needs at least {needed} {name}; got {y.size}.")
        if p.ndim != 2 or y.shape != p.shape[:1] or y.dtype.kind not in "iu":
            raise DataError(
                f"the {attack} attack needs {name} as probabilities [N, K] and integer labels [N]; "
                f"got shapes {p.shape} and {y.shape}, and labels of type {y.dtype}."
            )
        widths.add(p.shape[1])
        if y.min() < 0 or y.max() >= p.shape[1]:
            raise DataError(
                f"the {attack} attack needs labels of {name} in 0 .. {p.shape[1] - 1}, as there "
                f"are probabilities; got {y.min()} .. {y.max()}."
            )
        if not (p.min() >= 0 and p.max() <= 1 + ROUNDING):
            raise DataError(
                f"the {attack} attack needs probabilities in [0, 1]; those of the {name} are in "
                f"{p.min():.4g} .. {p.max():.4g}. Give a softmax of finite logits."
            )
    if len(widths) > 1:
        raise DataError(
            f"the {attack} attack needs one number of classes in all sets; got {sorted(widths)}."
        )


def auc_attack(targets: Predictions, nonmembers: Predictions) -> float:
    """Return the AUC of logit p_y of the targets over the non-members, in [0, 1].

    0.5 is indistinguishable. Above 0.5, the targets still look learned.

    Args:
        targets: predictions on the forget set.
        nonmembers: predictions on held-out data.

    Raises:
        DataError: a set is empty, or no valid predictions.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> targets = np.array([[0.95, 0.05], [0.5, 0.5]]), np.array([0, 0])
        >>> nonmembers = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 0])
        >>> rr.auc_attack(targets, nonmembers)
        0.75
    """
    _check("AUC", {"targets": targets, "non-members": nonmembers})
    return auc(label_logit(*targets), label_logit(*nonmembers))


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return P[positive > negative] + P[equal] / 2 over all pairs."""
    ordered = np.sort(negative)
    below, not_above = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


LARGEST_LOGIT = 100.0
"""Largest logit that float32 probabilities can resolve."""


def margin(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return logit p_y [N], clipped to +-100, so that models of both precisions compare."""
    return np.clip(label_logit(probabilities, labels), -LARGEST_LOGIT, LARGEST_LOGIT)


def label_logit(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return log p_y - log(1 - p_y) [N] of each example, from probabilities [N, K]."""
    p = np.asarray(probabilities, dtype=np.float64)
    rows = np.arange(len(p))
    others = p.copy()
    others[rows, labels] = 0
    return _log(p[rows, labels]) - _log(others.sum(axis=1))


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the natural logarithm, finite at 0."""
    logs: NDArray[np.float64] = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs


def _feature(predictions: Predictions, feature: Feature) -> NDArray[np.float64]:
    """Return the attack's feature [N, F]."""
    p, labels = np.asarray(predictions[0], dtype=np.float64), np.asarray(predictions[1])
    if feature == "probabilities":
        return p
    if feature == "confidence":
        values = p[np.arange(len(p)), labels]
    elif feature == "correctness":
        values = p.argmax(axis=1) == labels
    elif feature == "entropy":
        values = -(p * _log(p)).sum(axis=1)
    elif feature == "modified_entropy":
        # -(1 - p_y) log p_y - sum over the other classes k of p_k log(1 - p_k).
        others = p.copy()
        others[np.arange(len(p)), labels] = 0
        rest = others.sum(axis=1)
        values = -rest * _log(p[np.arange(len(p)), labels]) - (others * _log(1 - others)).sum(
            axis=1
        )
    else:
        raise ValueError(
            "feature must be confidence, correctness, entropy, modified_entropy or probabilities, "
            f"got '{feature}'"
        )
    return np.asarray(values, dtype=np.float64)[:, None]
