"""The first step of every model of a study, and its given weights, before anything is trained."""

import copy

import numpy as np
import torch
from torch import nn

from rum_ray.data.batches import to_float
from rum_ray.errors import ConfigError
from rum_ray.jobs.pretrained import check_initial
from rum_ray.models import embed
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.study.given import check_files
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime
from rum_ray.training.first_step import check_first_step, check_last_batches
from rum_ray.unlearning import GradientUnlearner, UnlearningTask


def check_models(study: Study) -> None:
    """Try a first step of each model on the real shapes, and read the given weights.

    Raises:
        ConfigError: a model does not accept the data or the last batch of an epoch, or returns no
            embeddings.
        DataError: given weights do not fit the model.
        PlanError: an unlearner does not fit the model.
        UnsafeError: reading given weights could run code or exhaust memory.
    """
    experiment, train = study.experiment, study.context.bundle.train
    model = check_first_step(experiment.recipe, train)
    _check_embeddings(study, model)
    _check_unlearners(study, model)
    check_last_batches(experiment.recipe, train, {"the training set": len(train)})
    check_files(study)
    recipes = dict.fromkeys((experiment.recipe, experiment.score.recipe or experiment.recipe))
    for recipe in recipes:
        if recipe is not experiment.recipe:
            check_first_step(recipe, train)
        check_initial(recipe, train)
    pool = study.scoring.pool_size.jobs
    if pool:
        learned = len(included_rows(len(train), pool[0].fraction, pool[0].seed))
        check_last_batches(pool[0].recipe, train, {"each model of the pool": learned})


def _check_embeddings(study: Study, model: nn.Module) -> None:
    """Raise ConfigError if the model returns no embeddings."""
    layer, train = study.experiment.embedding, study.context.bundle.train
    try:
        with torch.inference_mode():
            embed(model, to_float(train.x[:2]), layer)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"embedding: the model returns none for the data: {reason}.") from error


def _check_unlearners(study: Study, model: nn.Module) -> None:
    """Raise PlanError if an unlearner of the experiment does not fit the model."""
    experiment, train = study.experiment, study.context.bundle.train
    unlearners = [*(experiment.plan or {}).values(), *experiment.compare]
    if experiment.search is not None:
        unlearners += [c.unlearner(c.defaults) for c in experiment.search.unlearners]
        unlearners += experiment.search.steps.values()
    task = UnlearningTask(train.take([0]), train.take([1]), model, shift=np.zeros(2, np.float32))
    runtime = LocalRuntime(Seed(0), threads=experiment.recipe.threads)
    for unlearner in dict.fromkeys(unlearners):
        if isinstance(unlearner, GradientUnlearner):
            unlearner.prepare(copy.deepcopy(model), task, runtime)
