"""How well it was forgotten: metrics, and attacks by their YAML names."""

from collections.abc import Mapping
from functools import partial

from rum_ray.evaluation.attack import Attack
from rum_ray.evaluation.divergence import jensen_shannon, klom
from rum_ray.evaluation.mia import auc_attack, svm_attack, threshold_attack
from rum_ray.evaluation.pool import AttackResult, PoolEvidence, pool_lira, pool_rmia, u_lira
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate, tow, tow_mia
from rum_ray.training.prediction import predict

_svm = partial(partial, svm_attack)

ALWAYS = ("svm", "auc")
"""Attacks that every evaluation measures; `evaluate.also` names others."""
ATTACKS: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("svm", "SVM", "members", svm_attack),
        Attack("auc", "AUC", "nonmembers", auc_attack),
        Attack("svm_correctness", "SVM, correctness", "members", _svm(feature="correctness")),
        Attack("svm_entropy", "SVM, entropy", "members", _svm(feature="entropy")),
        Attack(
            "svm_modified_entropy",
            "SVM, modified entropy",
            "members",
            _svm(feature="modified_entropy"),
        ),
        Attack("svm_probabilities", "SVM, probabilities", "members", _svm(feature="probabilities")),
        Attack("threshold", "threshold", "members", threshold_attack),
        Attack("pool_lira", "pool LiRA", "pool", pool_lira),
        Attack("pool_rmia", "pool RMIA", "pool", pool_rmia),
        Attack("u_lira", "U-LiRA", "shadows", u_lira),
    )
}

__all__ = [
    "ALWAYS",
    "ATTACKS",
    "Accuracies",
    "Attack",
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
