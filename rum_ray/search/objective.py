"""The objective of a search: J = ToW - attack gap, on validation data (docs/protocol.md 5)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rum_ray.evaluation.tow import Accuracies, Evaluation, tow

INFEASIBLE = -1.0
"""J of a plan that is over the cost cap or diverges: the minimum of J."""


@dataclass(frozen=True)
class Reference:
    """Mean evaluation of several retrained models on validation data.

    One retrained model is a poor reference, because a search would fit its noise.

    Attributes:
        accuracies: mean accuracies.
        mia: mean of the SVM attack, in [0, 1].
        auc: mean AUC, in [0, 1].
    """

    accuracies: Accuracies
    mia: float
    auc: float

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
        )


def answer(evaluation: Evaluation | Reference, attack: str) -> float:
    """Return the value of an attack, "auc" or "svm", in [0, 1]."""
    return evaluation.auc if attack == "auc" else evaluation.mia


def floor(retrained: Sequence[Evaluation], attack: str) -> float:
    """Return the noise floor of an attack's gap: the gap between two retrained models.

    It is the 95th percentile of the gaps over all pairs of retrained models. For up to 20 pairs
    (six models) that is the maximum.
    """
    values = [answer(evaluation, attack) for evaluation in retrained]
    gaps = [abs(a - b) for a, b in itertools.combinations(values, 2)]
    return float(np.quantile(gaps, 0.95, method="higher"))


@dataclass(frozen=True)
class Judgement:
    """Objective of one plan on one search seed.

    Attributes:
        tow: ToW against the reference, on validation data, in [0, 1].
        gap: gap of the selected attack, in [0, 1].
    """

    tow: float
    gap: float

    @property
    def objective(self) -> float:
        """J = ToW - gap, in [-1, 1]; higher is better."""
        return self.tow - self.gap


def judge(unlearned: Evaluation, reference: Reference, attack: str) -> Judgement:
    """Return the objective of an unlearned model.

    Args:
        unlearned: evaluation of the model on validation data.
        reference: mean of the retrained models.
        attack: attack of the gap, "auc" or "svm".
    """
    gap = abs(answer(unlearned, attack) - answer(reference, attack))
    return Judgement(tow(unlearned.accuracies, reference.accuracies), gap)
