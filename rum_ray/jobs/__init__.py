"""The jobs of a study: values with the key of their result and the function that computes it.

Results already in the store are reused, so a crash costs only the unfinished jobs. Ray is not
needed: `Context.get_or_compute` runs one job in this process. `rum_ray.study.executor` runs many
on one machine, `rum_ray.cluster` on a cluster.
"""

from rum_ray.jobs.context import Context
from rum_ray.jobs.embeddings import CentroidDistances, EmbeddingMoments, SubsetMoments
from rum_ray.jobs.evaluate import (
    Evaluate,
    UnlearnedModel,
    evaluation_cost,
    relative_cost,
    retraining_cost,
)
from rum_ray.jobs.job import Job
from rum_ray.jobs.pool import PoolLogits, UnlearnShadow, pool_logits, shadow_logits
from rum_ray.jobs.prefix import PlanPrefix
from rum_ray.jobs.proxy import ScoreByProxy
from rum_ray.jobs.reference import PoolReference, RetrainedReference
from rum_ray.jobs.search import SearchJob
from rum_ray.jobs.train import (
    TrainModel,
    TrainPoolModel,
    format_weights,
    is_fused,
    load_model,
    pool_bits,
    pool_counts,
    train_together,
)
from rum_ray.jobs.trial import EvaluatePlan

__all__ = [
    "CentroidDistances",
    "Context",
    "EmbeddingMoments",
    "Evaluate",
    "EvaluatePlan",
    "Job",
    "PlanPrefix",
    "PoolLogits",
    "PoolReference",
    "RetrainedReference",
    "ScoreByProxy",
    "SearchJob",
    "SubsetMoments",
    "TrainModel",
    "TrainPoolModel",
    "UnlearnShadow",
    "UnlearnedModel",
    "evaluation_cost",
    "format_weights",
    "is_fused",
    "load_model",
    "pool_bits",
    "pool_counts",
    "pool_logits",
    "relative_cost",
    "retraining_cost",
    "shadow_logits",
    "train_together",
]
