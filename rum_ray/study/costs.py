"""The cost of a job, in trainings of the original."""

from rum_ray.jobs import (
    CentroidDistances,
    EmbeddingMoments,
    Evaluate,
    EvaluatePlan,
    PoolLogits,
    ScoreByProxy,
    SearchJob,
    SubsetMoments,
    TrainModel,
    TrainPoolModel,
    UnlearnShadow,
    relative_cost,
)
from rum_ray.jobs.job import Keyed
from rum_ray.study.study import Study
from rum_ray.unlearning.base import FORWARD_ONLY


def training_cost(study: Study, job: Keyed) -> float:
    """Return the cost of a job that trains a model from scratch, in trainings of the original."""
    epochs = study.experiment.recipe.epochs
    if isinstance(job, TrainModel):
        return 0.0 if job.weights is not None else job.recipe.epochs / epochs
    if isinstance(job, TrainPoolModel):
        return job.fraction * job.recipe.epochs / epochs
    if isinstance(job, ScoreByProxy):
        return job.cost(study.context) / (epochs * len(study.context.bundle.train))
    return float(training_count(job))


def job_cost(study: Study, job: Keyed) -> float:
    """Return the cost of a job in trainings of the original; for a search, an upper bound.

    Forward passes count a third. Passes over validation and test data do not count.
    """
    total, epochs = len(study.context.bundle.train), study.experiment.recipe.epochs
    if isinstance(job, SearchJob):
        config = job.config
        return config.budget or (config.trials or 0) * config.seeds * config.max_cost
    if isinstance(job, EvaluatePlan):
        return relative_cost(job.plan, job.recipe, total)
    if isinstance(job, UnlearnShadow):
        return job.cost(total)
    if isinstance(job, CentroidDistances):
        return 2 * FORWARD_ONLY / epochs
    if isinstance(job, EmbeddingMoments | SubsetMoments | PoolLogits):
        return FORWARD_ONLY / epochs
    if isinstance(job, Evaluate):
        plan = 0.0 if job.plan is None else relative_cost(job.plan, job.recipe, total)
        relearn = 0.0 if job.relearn is None else job.relearn.epochs / epochs
        return plan + relearn + training_count(job)
    return training_cost(study, job)


def training_count(job: Keyed) -> int:
    """Return the number of models that a job trains from scratch."""
    if isinstance(job, TrainModel | TrainPoolModel | ScoreByProxy):
        return 1
    return int(isinstance(job, Evaluate) and job.model.forget is not None and job.split == "valid")
