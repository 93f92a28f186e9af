"""Membership inference: can an attacker tell the forget set from data that was never learned?

Sets are pairs of predicted probabilities [N, K] and labels [N].
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import DataError

Predictions: TypeAlias = tuple[NDArray[np.floating[Any]], NDArray[np.int64]]
LEAST_LEARNED = 2
"""Members, and non-members, that an attack takes to learn from."""
ROUNDING = 1e-6
"""How far above 1 a probability may be."""
Feature = Literal["confidence", "correctness", "entropy", "modified_entropy", "probabilities"]


def svm_attack(
    members: Predictions,
    nonmembers: Predictions,
    targets: Predictions,
    feature: Feature = "confidence",
) -> float:
    """Return the share of the targets that the attack takes for non-members, in [0, 1].

    The paper's attack: a support vector machine (RBF, C = 3, gamma = 1 / features) learns to tell
    members from non-members by one feature of the prediction. Higher looks more forgotten. The
    first n = min(|members|, |non-members|) of each are used.

    Args:
        members: of the retain set.
        nonmembers: never learned.
        targets: the forget set.
        feature: the label's probability, whether the prediction is right, its entropy in nats, the
            entropy modified by Song and Mittal (USENIX Security 2021, section 4.1,
            https://arxiv.org/abs/2003.10595), which is low only for certainty of the label, or all
            probabilities.

    Raises:
        DataError: a set is too small, or not what it should be.
    """
    # Scikit-learn takes a second to import, and most commands fit nothing.
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
    """Return the share of the targets that the attack takes for non-members, in [0, 1].

    What has a confidence of at least a threshold is called a member. The threshold is the one with
    the best mean of the shares of members and of non-members that are told right, the lowest of
    several (Song and Mittal, USENIX Security 2021, section 4.1, https://arxiv.org/abs/2003.10595,
    who give each class its own). Higher looks more forgotten.

    Args:
        members: of the retain set.
        nonmembers: never learned.
        targets: the forget set.

    Raises:
        DataError: a set is too small, or not what it should be.
    """
    sets = {"members": members, "non-members": nonmembers, "targets": targets}
    _check("threshold", sets, LEAST_LEARNED)
    inside, outside, asked = (label_logit(*set_) for set_ in sets.values())
    return float(np.mean(asked < _threshold(inside, outside)))


def _threshold(members: NDArray[np.float64], nonmembers: NDArray[np.float64]) -> float:
    """Return the value that best parts members, at or above it, from non-members."""
    candidates = np.append(np.unique(np.concatenate([members, nonmembers])), np.inf)
    missed = np.searchsorted(np.sort(members), candidates) / len(members)
    rejected = np.searchsorted(np.sort(nonmembers), candidates) / len(nonmembers)
    return float(candidates[np.argmax(rejected - missed)])


def _check(attack: str, sets: Mapping[str, Predictions], least: int = 1) -> None:
    """Raise DataError unless all sets are predictions of the same classes, and enough of them.

    Args:
        attack: its name.
        sets: by name.
        least: examples a set needs; of the targets one is enough.
    """
    widths = set()
    for name, (probabilities, labels) in sets.items():
        p, y = np.asarray(probabilities), np.asarray(labels)
        needed = 1 if name == "targets" else least
        if y.size < needed:
            found = f"{y.size or 'no'} {name}"
            raise DataError(f"the {attack} attack was given {found}; it needs at least {needed}.")
        if p.ndim != 2 or y.shape != p.shape[:1] or y.dtype.kind not in "iu":
            raise DataError(
                f"the {attack} attack needs {name} as probabilities [N, K] and integer labels [N]; "
                f"their shapes are {p.shape} and {y.shape}, labels are {y.dtype}."
            )
        widths.add(p.shape[1])
        if y.min() < 0 or y.max() >= p.shape[1]:
            raise DataError(
                f"the {attack} attack was given {name} with labels {y.min()} .. {y.max()}; "
                f"there are probabilities for 0 .. {p.shape[1] - 1}."
            )
        if not (p.min() >= 0 and p.max() <= 1 + ROUNDING):
            raise DataError(
                f"the {attack} attack needs probabilities in [0, 1]; those of the {name} lie in "
                f"{p.min():.4g} .. {p.max():.4g}. Give a softmax of finite logits."
            )
    if len(widths) > 1:
        raise DataError(f"the {attack} attack was given sets of {sorted(widths)} classes.")


def auc_attack(targets: Predictions, nonmembers: Predictions) -> float:
    """Return the AUC of logit p_y of the targets over the non-members, in [0, 1].

    0.5 is indistinguishable; above, the targets still look learned.

    Raises:
        DataError: a set is empty, or not what it should be.
    """
    _check("AUC", {"targets": targets, "non-members": nonmembers})
    return auc(label_logit(*targets), label_logit(*nonmembers))


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return P[positive > negative] + P[equal] / 2 over all pairs."""
    ordered = np.sort(negative)
    below, not_above = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


LARGEST_LOGIT = 100.0
"""Beyond it, float32 probabilities no longer tell one logit from another."""


def margin(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return logit p_y [N], at most 100 from 0, so that models of both precisions compare."""
    return np.clip(label_logit(probabilities, labels), -LARGEST_LOGIT, LARGEST_LOGIT)


def label_logit(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return log p_y - log(1 - p_y) of each example [N], from its probabilities [N, K]."""
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
        # What the label lacks, and what each other class has, with the log of what is left.
        excess = p.copy()
        excess[np.arange(len(p)), labels] = 0
        lacking = excess.sum(axis=1)
        values = -lacking * _log(p[np.arange(len(p)), labels]) - (excess * _log(1 - excess)).sum(
            axis=1
        )
    else:
        raise ValueError(
            "feature must be confidence, correctness, entropy, modified_entropy or probabilities, "
            f"got '{feature}'"
        )
    return np.asarray(values, dtype=np.float64)[:, None]
