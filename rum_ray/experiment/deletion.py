"""Requests to forget: the section `deletion` of an experiment."""

from dataclasses import dataclass, field
from typing import Literal

ReferenceKind = Literal["none", "pool", "retrain"]


@dataclass(frozen=True)
class GatesConfig:
    """Gates: a request that does not meet one publishes nothing and ends with exit code 9.

    Attributes:
        test_accuracy_drop: largest drop of the accuracy on the test set, from the model that the
            request starts from to the published one. The same limit on the drop since the original
            tells when retraining is due.
        attack_auc: largest AUC of the attacks on the published model. The gate is not met where the
            lower end of the 95 % interval is above it, so that few rows do not fail by chance.
    """

    test_accuracy_drop: float | None = None
    attack_auc: float | None = None

    def __post_init__(self) -> None:
        if self.test_accuracy_drop is not None and not 0 <= self.test_accuracy_drop <= 1:
            raise ValueError(f"test_accuracy_drop must be in [0, 1], got {self.test_accuracy_drop}")
        if self.attack_auc is not None and not 0.5 <= self.attack_auc <= 1:
            raise ValueError(f"attack_auc must be in [0.5, 1], got {self.attack_auc}")


@dataclass(frozen=True)
class DeletionConfig:
    """Requests to forget, for `rum-ray delete`.

    Attributes:
        reference: "none"; "pool" requires the models of `rum-ray prepare`, which are used wherever
            they are there; "retrain" retrains a model for each request and compares with it.
        gates: limits of the measurements.
    """

    reference: ReferenceKind = "none"
    gates: GatesConfig = field(default_factory=GatesConfig)
