"""The objectives of a search, on validation data (docs/protocol.md 5)."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.tow import Accuracies, Evaluation, tow

INFEASIBLE = -1.0
"""J of a plan that diverges: the minimum of J."""
AttackName: TypeAlias = Literal["auc", "svm"]
ObjectiveName: TypeAlias = Literal["tow_gap", "examples"]
Predicted: TypeAlias = Mapping[str, NDArray[np.int64]]
"""Predicted classes by set: "forget", "retain", "test"."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The mean evaluation of several retrained models on validation data.

    One retrained model is a poor reference, because a search would fit its noise.

    Attributes:
        accuracies: mean accuracies.
        mia: mean of the SVM attack, in [0, 1].
        auc: mean AUC, in [0, 1].
        predicted: classes that each model predicts; empty if there are no such models.
    """

    accuracies: Accuracies
    mia: float
    auc: float
    predicted: tuple[Predicted, ...] = ()

    @classmethod
    def of(cls, retrained: Sequence[Evaluation]) -> "Reference":
        """Return the mean of the evaluations."""
        accuracies = Accuracies(
            forget=float(np.mean([e.accuracies.forget for e in retrained])),
            retain=float(np.mean([e.accuracies.retain for e in retrained])),
            test=float(np.mean([e.accuracies.test for e in retrained])),
        )
        return cls(
            accuracies,
            mia=float(np.mean([e.mia for e in retrained])),
            auc=float(np.mean([e.auc for e in retrained])),
            predicted=tuple(e.predicted for e in retrained),
        )

    @property
    def own_agreement(self) -> float | None:
        """Mean agreement of two of the models, in [0, 1]; None without two models."""
        pairs = [agreement(a, b) for a, b in itertools.combinations(self.predicted, 2)]
        return float(np.mean(pairs)) if pairs else None


def agreement(ours: Predicted, theirs: Predicted) -> float:
    """Return the product over the sets of the share of examples predicted alike, in [0, 1].

    It is the metric `tow_examples`.
    """
    return float(np.prod([np.mean(ours[name] == theirs[name]) for name in theirs]))


def answer(evaluation: Evaluation | Reference, attack: AttackName) -> float:
    """Return the value of an attack, "auc" or "svm", in [0, 1]."""
    return evaluation.auc if attack == "auc" else evaluation.mia


def floor(retrained: Sequence[Evaluation], attack: AttackName) -> float:
    """Return the noise floor of an attack's gap: the gap between two retrained models.

    It is the 95th percentile of the gaps over all pairs of retrained models. For up to 20 pairs
    (six models) that is the maximum.
    """
    values = [answer(evaluation, attack) for evaluation in retrained]
    gaps = [abs(a - b) for a, b in itertools.combinations(values, 2)]
    return float(np.quantile(gaps, 0.95, method="higher"))


def agreement_floor(retrained: Sequence[Predicted]) -> float:
    """Return the noise floor of `examples`: the standard error of an agreement on held-out data.

    It is sqrt(d (1 - d) / n), with the share d of the n examples on which two retrained models
    differ, mean over all pairs.
    """
    pairs = [(a["test"], b["test"]) for a, b in itertools.combinations(retrained, 2)]
    differ = float(np.mean([np.mean(a != b) for a, b in pairs]))
    return math.sqrt(differ * (1 - differ) / len(retrained[0]["test"]))


@dataclass(frozen=True)
class Judgement:
    """One unlearned model against the reference, by every metric that a search may maximise.

    Attributes:
        tow: ToW, in [0, 1].
        auc_gap: gap of the AUC attack, in [0, 1].
        svm_gap: gap of the SVM attack, in [0, 1].
        examples: mean agreement with the models of the reference, plus 1, less their agreement with
            each other: 1 is as alike as they are. In [0, 2]; None without such models.
    """

    tow: float
    auc_gap: float
    svm_gap: float
    examples: float | None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Judgement":
        """Return the judgement in a stored result."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__})

    def plain(self) -> dict[str, float | None]:
        """Return the metrics by name."""
        return asdict(self)

    def objective(self, name: ObjectiveName, attack: AttackName) -> float:
        """Return J; higher is better: ToW - gap of the attack in [-1, 1], or `examples`."""
        if name == "examples":
            assert self.examples is not None
            return self.examples
        return self.tow - (self.auc_gap if attack == "auc" else self.svm_gap)

    def verdict(self, name: ObjectiveName) -> float:
        """Return the value by which finalists are ranked: J with the mean gap of both attacks."""
        if name == "examples":
            return self.objective(name, "auc")
        return self.tow - (self.auc_gap + self.svm_gap) / 2


def judge(unlearned: Evaluation, reference: Reference) -> Judgement:
    """Return the metrics of an unlearned model against the reference, on validation data."""
    own, alike = reference.own_agreement, None
    if own is not None:
        predicted = unlearned.predicted
        alike = 1 + float(np.mean([agreement(predicted, p) for p in reference.predicted])) - own
    return Judgement(
        tow=tow(unlearned.accuracies, reference.accuracies),
        auc_gap=abs(unlearned.auc - reference.auc),
        svm_gap=abs(unlearned.mia - reference.mia),
        examples=alike,
    )
