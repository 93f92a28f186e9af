"""What a job costs, in trainings of the original."""

from rum_ray.jobs import Evaluate, Job, ScoreByProxy, TrainModel, TrainPoolModel
from rum_ray.study.study import Study


def training_cost(study: Study, job: Job) -> float:
    """Return what a job that trains a model costs, in trainings of the original."""
    recipe = study.experiment.recipe
    if isinstance(job, TrainModel) and job.weights is not None:
        return 0.0
    if isinstance(job, ScoreByProxy):
        return job.cost(study.context) / (recipe.epochs * len(study.context.bundle.train))
    share = job.fraction if isinstance(job, TrainPoolModel) else 1.0
    return share * job.recipe.epochs / recipe.epochs


def trainings(job: Job) -> int:
    """Return how many models a job trains from scratch."""
    if isinstance(job, TrainModel | TrainPoolModel | ScoreByProxy):
        return 1
    return int(isinstance(job, Evaluate) and job.model.forget is not None and job.split == "valid")
