"""Membership inference: can an attacker tell the forget set from data that was never learned?

Sets are pairs of predicted probabilities [N, K] and labels [N].
"""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.svm import SVC

from rum_ray.errors import DataError

Predictions: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]
Feature = Literal["confidence", "correctness", "entropy", "probabilities"]


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
        feature: the label's probability, whether the prediction is right, its entropy in nats, or
            all probabilities.

    Raises:
        DataError: a set is empty.
    """
    sets = {"members": members, "non-members": nonmembers, "targets": targets}
    for name, (_, labels) in sets.items():
        if not len(labels):
            raise DataError(f"the SVM attack was given no {name}; it needs some of all three.")
    n = min(len(members[1]), len(nonmembers[1]))
    x = np.concatenate([_feature(members, feature)[:n], _feature(nonmembers, feature)[:n]])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
    return float(np.mean(attack.predict(_feature(targets, feature)) == 0))


def auc_attack(targets: Predictions, nonmembers: Predictions) -> float:
    """Return the AUC of logit p_y of the targets over the non-members, in [0, 1].

    0.5 is indistinguishable; above, the targets still look learned.

    Raises:
        DataError: a set is empty.
    """
    positive, negative = label_logit(*targets), label_logit(*nonmembers)
    if not len(positive) or not len(negative):
        raise DataError("the AUC attack needs at least one target and one non-member.")
    return auc(positive, negative)


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Return P[positive > negative] + P[equal] / 2 over all pairs."""
    ranks = rankdata(np.concatenate([positive, negative]))
    n = len(positive)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(negative)))


def label_logit(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return log p_y - log(1 - p_y) of each example [N], from its probabilities [N, K]."""
    p = np.asarray(probabilities, dtype=np.float64)
    rows = np.arange(len(p))
    others = p.copy()
    others[rows, labels] = 0
    tiny = np.finfo(np.float64).tiny
    logit: NDArray[np.float64] = np.log(np.maximum(p[rows, labels], tiny)) - np.log(
        np.maximum(others.sum(axis=1), tiny)
    )
    return logit


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
        values = -(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum(axis=1)
    else:
        raise ValueError(
            f"feature must be confidence, correctness, entropy or probabilities, got '{feature}'"
        )
    return np.asarray(values, dtype=np.float64)[:, None]
