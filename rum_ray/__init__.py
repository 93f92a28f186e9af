"""rum_ray: machine unlearning with RUM. These are the public names; they load when first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rum_ray.api import read_report, run
    from rum_ray.cluster.embed import stream_moments
    from rum_ray.cluster.executor import RayExecutor
    from rum_ray.data import DATASETS, DataBundle, LabeledData, load
    from rum_ray.data.source import open_source
    from rum_ray.evaluation import (
        ATTACKS,
        Accuracies,
        Attack,
        AttackResult,
        Evaluation,
        PoolEvidence,
        auc_attack,
        evaluate,
        forgetting_quality,
        iam,
        jensen_shannon,
        klom,
        pool_lira,
        pool_rmia,
        ruli,
        svm_attack,
        threshold_attack,
        tow,
        tow_mia,
        u_lira,
    )
    from rum_ray.models import MODELS
    from rum_ray.partition import Partition, Subset
    from rum_ray.refinement import REFINERS, forget_set, refine
    from rum_ray.results.report import Report
    from rum_ray.rum import Plan, unlearn
    from rum_ray.scores import PROXIES, Scores
    from rum_ray.scores.discrepancy import mmd
    from rum_ray.scores.entanglement import entanglement_score
    from rum_ray.scores.memorization import influence, memorization
    from rum_ray.seeding import Seed
    from rum_ray.study.executor import LocalExecutor
    from rum_ray.training import LocalRuntime, Recipe
    from rum_ray.unlearning import (
        AMUN,
        CT,
        MSG,
        SSD,
        UNLEARNERS,
        BadTeacher,
        DatamodelMatching,
        FineTune,
        Influence,
        L1Sparse,
        LoTUS,
        NegGrad,
        NegGradPlus,
        Nothing,
        RandomLabel,
        Retrain,
        SalUn,
        Scrub,
        UnlearningTask,
        WeightDistortion,
        WeightDistReg,
    )

_NAMES = {
    "api": "read_report run",
    "cluster.embed": "stream_moments",
    "cluster.executor": "RayExecutor",
    "data": "DATASETS DataBundle LabeledData load",
    "data.source": "open_source",
    "evaluation": (
        "ATTACKS Accuracies Attack AttackResult Evaluation PoolEvidence auc_attack evaluate "
        "forgetting_quality iam jensen_shannon klom pool_lira pool_rmia ruli svm_attack "
        "threshold_attack tow tow_mia u_lira"
    ),
    "models": "MODELS",
    "refinement": "REFINERS forget_set refine",
    "partition": "Partition Subset",
    "rum": "Plan unlearn",
    "scores": "PROXIES Scores",
    "scores.discrepancy": "mmd",
    "scores.entanglement": "entanglement_score",
    "scores.memorization": "influence memorization",
    "results.report": "Report",
    "seeding": "Seed",
    "study.executor": "LocalExecutor",
    "training": "LocalRuntime Recipe",
    "unlearning": (
        "UNLEARNERS UnlearningTask AMUN BadTeacher CT DatamodelMatching FineTune Influence "
        "L1Sparse LoTUS MSG NegGrad NegGradPlus Nothing RandomLabel Retrain SalUn Scrub SSD "
        "WeightDistReg WeightDistortion"
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'rum_ray' has no attribute '{name}'")
    return getattr(importlib.import_module(f"rum_ray.{module}"), name)


def __dir__() -> list[str]:
    return __all__
