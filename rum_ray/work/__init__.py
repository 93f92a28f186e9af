"""The jobs of a study: each is a value, the key of what it makes, and the function that makes it.

A job asks the store first, so whatever was made before a crash is not made again. Ray is not
needed: `Context.make` does one job in this process, `rum_ray.cluster.jobs` does many on a cluster.
"""

from rum_ray.work.base import Context, Job
from rum_ray.work.distances import CentroidDistances
from rum_ray.work.evaluate import Evaluate, UnlearnedModel, relative_cost, retraining_cost
from rum_ray.work.moments import EmbeddingMoments, SubsetMoments
from rum_ray.work.pool import PoolLogits, UnlearnShadow, pool_logits, shadow_logits
from rum_ray.work.prefix import UnlearnedPrefix
from rum_ray.work.reference import Expected, Retrained
from rum_ray.work.score import ScoreByProxy
from rum_ray.work.search import Search
from rum_ray.work.train import (
    TrainModel,
    TrainPoolModel,
    format_weights,
    is_fused,
    load_model,
    pool_bits,
    train_together,
)
from rum_ray.work.trial import TryPlan

__all__ = [
    "CentroidDistances",
    "Context",
    "EmbeddingMoments",
    "Evaluate",
    "Expected",
    "Job",
    "PoolLogits",
    "Retrained",
    "ScoreByProxy",
    "Search",
    "SubsetMoments",
    "TrainModel",
    "TrainPoolModel",
    "TryPlan",
    "UnlearnShadow",
    "UnlearnedModel",
    "UnlearnedPrefix",
    "format_weights",
    "is_fused",
    "load_model",
    "pool_bits",
    "pool_logits",
    "relative_cost",
    "retraining_cost",
    "shadow_logits",
    "train_together",
]
