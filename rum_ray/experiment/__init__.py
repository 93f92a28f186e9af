"""An experiment as one frozen value: the sections of an experiment file, defaults and ranges."""

from rum_ray.experiment.deletion import DeletionConfig, GatesConfig
from rum_ray.experiment.experiment import Experiment
from rum_ray.experiment.parts import (
    ClusterConfig,
    DataConfig,
    EvaluateConfig,
    ForgetConfig,
    RelearnConfig,
)
from rum_ray.experiment.plain import key_of, plan_as_dicts, to_plain
from rum_ray.experiment.score import Precision, ScoreConfig
from rum_ray.experiment.search import ReferenceName, SearchConfig

__all__ = [
    "ClusterConfig",
    "DataConfig",
    "DeletionConfig",
    "EvaluateConfig",
    "Experiment",
    "ForgetConfig",
    "GatesConfig",
    "Precision",
    "ReferenceName",
    "RelearnConfig",
    "ScoreConfig",
    "SearchConfig",
    "key_of",
    "plan_as_dicts",
    "to_plain",
]
