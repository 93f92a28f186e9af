"""What a search maximises: J = ToW - gap on validation data (docs/protocol.md 5)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rum_ray.evaluation.tow import Accuracies, Evaluation, tow

INFEASIBLE = -1.0
"""J of a plan that costs too much or diverges: the least that J can be."""


@dataclass(frozen=True)
class Reference:
    """The mean of several retrained models, each evaluated on validation data.

    One retrained model is a poor reference: its own noise would be searched for.
    """

    accuracies: Accuracies
    mia: float
    auc: float

    @classmethod
    def of(cls, retrained: Sequence[Evaluation]) -> "Reference":
        """Return the mean of these evaluations."""
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
    """Return what an attack, "auc" or "svm", says."""
    return evaluation.auc if attack == "auc" else evaluation.mia


def floor(retrained: Sequence[Evaluation], attack: str) -> float:
    """Return the gap that an attack sees where there is none.

    That is the 95th percentile of the gaps between any two of these retrained models; of up to 20
    pairs (six models), the largest.
    """
    answers = [answer(evaluation, attack) for evaluation in retrained]
    gaps = [abs(a - b) for a, b in itertools.combinations(answers, 2)]
    return float(np.quantile(gaps, 0.95, method="higher"))


@dataclass(frozen=True)
class Judgement:
    """How good one plan was on one search seed.

    Attributes:
        tow: against the reference, on validation data.
        gap: of the attack that counts.
    """

    tow: float
    gap: float

    @property
    def objective(self) -> float:
        """J, in [-1, 1]; higher is better."""
        return self.tow - self.gap


def judge(unlearned: Evaluation, reference: Reference, attack: str) -> Judgement:
    """Return how close an unlearned model is to the reference.

    Args:
        unlearned: evaluated on validation data.
        reference: mean of the retrained models.
        attack: "auc" or "svm", whose gap counts.
    """
    gap = abs(answer(unlearned, attack) - answer(reference, attack))
    return Judgement(tow(unlearned.accuracies, reference.accuracies), gap)
