"""Evaluation of unlearned models: metrics, and membership inference attacks in `ATTACKS`.

Example:
    >>> import rum_ray as rr
    >>> {"svm", "auc", "threshold"} <= rr.ATTACKS.keys()
    True
"""

from collections.abc import Mapping
from functools import partial

from rum_ray.evaluation.attack import Attack
from rum_ray.evaluation.competition import LEAST_SEEDS, forgetting_quality
from rum_ray.evaluation.divergence import jensen_shannon, klom
from rum_ray.evaluation.iam import iam
from rum_ray.evaluation.mia import Feature, auc_attack, svm_attack, threshold_attack
from rum_ray.evaluation.pool import AttackResult, PoolEvidence, pool_lira, pool_rmia, u_lira
from rum_ray.evaluation.ruli import ruli
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate, tow, tow_mia
from rum_ray.plugins import find, instance
from rum_ray.training.prediction import predict


def _svm(feature: Feature) -> Attack:
    """Return the SVM attack on another feature of the predictions."""
    title = f"SVM, {feature.replace('_', ' ')}"
    return Attack(f"svm_{feature}", title, "members", partial(svm_attack, feature=feature))


ALWAYS = ("svm", "auc")
"""Attacks that every evaluation measures; `evaluate.also` names others."""
ATTACKS: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("svm", "SVM", "members", svm_attack),
        Attack("auc", "AUC", "nonmembers", auc_attack),
        _svm("correctness"),
        _svm("entropy"),
        _svm("modified_entropy"),
        _svm("probabilities"),
        Attack("threshold", "threshold", "members", threshold_attack),
        Attack("pool_lira", "pool LiRA", "pool", pool_lira),
        Attack("pool_rmia", "pool RMIA", "pool", pool_rmia),
        Attack("u_lira", "U-LiRA", "shadows", u_lira),
        Attack("ruli", "RULI", "trained_shadows", ruli),
        Attack("iam", "IAM", "original", iam),
        Attack(
            "forgetting_quality", "forgetting quality", "seeds", forgetting_quality, LEAST_SEEDS
        ),
    )
}


def find_attack(name: str, table: Mapping[str, Attack] = ATTACKS) -> Attack:
    """Return an attack.

    Args:
        name: a key of the table, or `package.module:name`.
        table: attacks by name.

    Raises:
        ConfigError: the name is unknown, or the plug-in is refused.
    """
    attack: Attack = find(name, table, "attack", instance(Attack))
    return attack


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
    "find_attack",
    "forgetting_quality",
    "iam",
    "jensen_shannon",
    "klom",
    "pool_lira",
    "pool_rmia",
    "predict",
    "ruli",
    "svm_attack",
    "threshold_attack",
    "tow",
    "tow_mia",
    "u_lira",
]
