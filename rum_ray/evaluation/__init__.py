"""How well it was forgotten: metrics, and attacks by their YAML names."""

from collections.abc import Callable, Mapping

from rum_ray.evaluation.mia import auc_attack, svm_attack
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate, tow, tow_mia
from rum_ray.training.prediction import predict

ATTACKS: Mapping[str, Callable[..., float]] = {"svm": svm_attack, "auc": auc_attack}

__all__ = [
    "ATTACKS",
    "Accuracies",
    "Evaluation",
    "auc_attack",
    "evaluate",
    "predict",
    "svm_attack",
    "tow",
    "tow_mia",
]
