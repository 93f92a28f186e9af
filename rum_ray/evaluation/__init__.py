"""Evaluation of unlearned models: metrics, and membership inference attacks in `ATTACKS`.

Example:
    >>> import rum_ray as rr
    >>> {"svm", "auc", "threshold"} <= rr.ATTACKS.keys()
    True
"""

from collections.abc import Callable, Mapping

from rum_ray.evaluation.divergence import jensen_shannon, klom
from rum_ray.evaluation.mia import auc_attack, svm_attack, threshold_attack
from rum_ray.evaluation.pool import AttackResult, PoolEvidence, pool_lira, pool_rmia, u_lira
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate, tow, tow_mia
from rum_ray.training.prediction import predict

ATTACKS: Mapping[str, Callable[..., float | AttackResult]] = {
    "svm": svm_attack,
    "auc": auc_attack,
    "threshold": threshold_attack,
    "pool_lira": pool_lira,
    "pool_rmia": pool_rmia,
    "u_lira": u_lira,
}

__all__ = [
    "ATTACKS",
    "Accuracies",
    "AttackResult",
    "Evaluation",
    "PoolEvidence",
    "auc_attack",
    "evaluate",
    "jensen_shannon",
    "klom",
    "pool_lira",
    "pool_rmia",
    "predict",
    "svm_attack",
    "threshold_attack",
    "tow",
    "tow_mia",
    "u_lira",
]
