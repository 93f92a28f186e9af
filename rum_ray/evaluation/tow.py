"""How close an unlearned model is to a retrained one: accuracies, ToW, ToW-MIA, disagreement.

ToW = (1 - |a_u(S) - a_r(S)|) (1 - |a_u(R) - a_r(R)|) (1 - |a_u(T) - a_r(T)|)

with a(X) the accuracy on forget set S, retain set R and test set T, u unlearned and r retrained.
ToW-MIA has the attack's answers in place of the forget accuracies (Zhao et al., NeurIPS 2024).
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.bundle import DataBundle, LabeledData, complement
from rum_ray.evaluation.mia import Predictions, auc_attack, svm_attack
from rum_ray.rum import Partition, Plan
from rum_ray.seeding import Seed
from rum_ray.training.prediction import predict

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class Accuracies:
    """Shares of right predictions, each in [0, 1].

    Attributes:
        forget: on the forget set S.
        retain: on the retain set R.
        test: on data that was never learned.
    """

    forget: float
    retain: float
    test: float


def tow(unlearned: Accuracies, retrained: Accuracies) -> float:
    """Return the tug-of-war score, in [0, 1]; 1 is as accurate as the retrained model."""
    return (1 - abs(unlearned.forget - retrained.forget)) * _utility(unlearned, retrained)


def tow_mia(
    unlearned: Accuracies, retrained: Accuracies, mia_unlearned: float, mia_retrained: float
) -> float:
    """Return ToW with the attack's answers in place of the forget accuracies, in [0, 1]."""
    return (1 - abs(mia_unlearned - mia_retrained)) * _utility(unlearned, retrained)


def _utility(unlearned: Accuracies, retrained: Accuracies) -> float:
    """Return ToW's factors of retain and test set."""
    return (1 - abs(unlearned.retain - retrained.retain)) * (
        1 - abs(unlearned.test - retrained.test)
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured of one model.

    Attributes:
        accuracies: on forget, retain and test set.
        subsets: forget accuracy by subset.
        mia: share of the forget set that the SVM attack takes for non-members.
        auc: AUC of the forget set's logits over the non-members'.
        predicted: classes predicted on the "forget" [N_F], "retain" [N_R] and "test" [T] sets.
        cost: of making the model, in trainings of the original; None if unknown.
        seconds: of making the model; None if unknown.
    """

    accuracies: Accuracies
    subsets: dict[str, float]
    mia: float
    auc: float
    predicted: dict[str, NDArray[np.int64]]
    cost: float | None = None
    seconds: float | None = field(default=None, compare=False)

    def against(self, retrained: "Evaluation") -> dict[str, float]:
        """Return all metrics of this model against a retrained one, gaps without their sign."""
        ours, theirs = self.accuracies, retrained.accuracies
        metrics = {
            "tow": tow(ours, theirs),
            "tow_mia": tow_mia(ours, theirs, self.mia, retrained.mia),
            "mia": self.mia,
            "mia_gap": abs(self.mia - retrained.mia),
            "auc": self.auc,
            "auc_gap": abs(self.auc - retrained.auc),
            "forget_accuracy": ours.forget,
            "retain_accuracy": ours.retain,
            "test_accuracy": ours.test,
        }
        for name, predicted in self.predicted.items():
            metrics[f"disagreement_{name}"] = float(np.mean(predicted != retrained.predicted[name]))
        for name, accuracy in self.subsets.items():
            metrics[f"forget_accuracy_{name}"] = accuracy
        made = {"cost": self.cost, "seconds": self.seconds}
        return metrics | {name: value for name, value in made.items() if value is not None}


def evaluate(
    model: nn.Module,
    bundle: DataBundle,
    plan: Plan | Partition,
    split: Split = "test",
    cost: float | None = None,
    seconds: float | None = None,
) -> Evaluation:
    """Return accuracies, attacks and predictions of a model.

    Args:
        model: unlearned, retrained or original.
        bundle: the data set.
        plan: says what the forget set and its subsets are.
        split: what stands for the data that was never learned; searches use "valid".
        cost: of making the model, to be passed on.
        seconds: likewise.
    """
    partition = plan.partition if isinstance(plan, Plan) else plan
    unseen: LabeledData = getattr(bundle, split)
    p_train, p_unseen = predict(model, bundle.train), predict(model, unseen)
    y_train, y_unseen = bundle.train.y.numpy(), unseen.y.numpy()
    right = p_train.argmax(axis=1) == y_train
    forget = partition.rows
    retain = complement(forget, len(y_train))
    nonmembers = (p_unseen, bundle.nonmembers(split).y.numpy())
    sample = retain[_members(len(retain), len(y_unseen))]
    targets: Predictions = (p_train[forget], y_train[forget])
    return Evaluation(
        accuracies=Accuracies(
            forget=float(right[forget].mean()),
            retain=float(right[retain].mean()),
            test=float((p_unseen.argmax(axis=1) == y_unseen).mean()),
        ),
        subsets={s.name: float(right[s.rows].mean()) for s in partition},
        mia=svm_attack((p_train[sample], y_train[sample]), nonmembers, targets),
        auc=auc_attack(targets, nonmembers),
        predicted={
            "forget": p_train[forget].argmax(axis=1),
            "retain": p_train[retain].argmax(axis=1),
            "test": p_unseen.argmax(axis=1),
        },
        cost=cost,
        seconds=seconds,
    )


def _members(retain: int, unseen: int) -> NDArray[np.int64]:
    """Return a sample of the retain set as large as the non-members, the same for all models."""
    return (Seed(0) / "attack" / "members").choice(retain, min(retain, unseen))
