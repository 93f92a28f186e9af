"""What can be known of a study before anything is trained."""

import copy

import numpy as np
import torch
from torch import nn

from rum_ray.data.batches import to_float
from rum_ray.errors import ConfigError
from rum_ray.models import embed
from rum_ray.plugins import find
from rum_ray.refinement import REFINERS, forget_set
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import UNLEARNERS, GradientUnlearner, UnlearningTask
from rum_ray.work.given import read_weights


def check(study: Study) -> None:
    """Choose, refine and plan with stand-ins for scores that are not known yet.

    So a list of ids that cannot be read, a forget set that is too large, or a pool that leaves
    scores unknown is told before anything is trained.

    Raises:
        ConfigError: a model does not take the data.
        DataError: the list of ids is wrong.
        PlanError: the forget set or its subsets cannot be made, or an unlearner does not suit the
            model.
        ScoreError: scores are unknown.
    """
    experiment, config = study.experiment, study.experiment.forget
    model = _build(study, experiment.recipe)
    _prepare(study, model)
    if experiment.recipe.weights is not None:
        read_weights(experiment.recipe.weights, study.recipe, study.context.bundle.train)
    if experiment.score.recipe is not None:
        _build(study, experiment.score.recipe)
    scores = _expected(study)
    if config.ids is not None:
        forget = study.forget
    else:
        assert config.size is not None
        forget = forget_set(scores, config.size, config.pick, study.middle)
    if type(experiment.refine) in REFINERS.values():
        partition = experiment.refine(forget, scores)
        if experiment.plan is not None:
            Plan.assign(partition, experiment.plan, experiment.retain)


def _build(study: Study, recipe: Recipe) -> nn.Module:
    """Return the recipe's model; ConfigError unless it gives logits and features of the data."""
    train = study.context.bundle.train
    try:
        model = recipe.build(train, Seed(0)).eval()
        with torch.inference_mode():
            inputs = to_float(train.x[:2])
            embed(model, inputs)
            shape = tuple(model(inputs).shape)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"model '{recipe.model}' does not take inputs of shape {train.shape}: {reason}"
        ) from error
    if shape != (2, train.num_classes):
        raise ConfigError(
            f"model '{recipe.model}' gives {shape[1:]} logits an example; "
            f"the data have {train.num_classes} classes."
        )
    if recipe.augment and train.x.ndim != 4:
        raise ConfigError("recipe.augment: only images can be cropped and mirrored; set it false.")
    return model


def _prepare(study: Study, model: nn.Module) -> None:
    """Raise PlanError if a chosen unlearner finds nothing in the model that it could work on."""
    experiment, train = study.experiment, study.context.bundle.train
    chosen = [*(experiment.plan or {}).values(), *experiment.compare]
    if experiment.search is not None:
        chosen += [find(name, UNLEARNERS, "unlearner")() for name in experiment.search.unlearners]
    task = UnlearningTask(train.take([0]), train.take([1]), model)
    runtime = LocalRuntime(Seed(0), threads=experiment.recipe.threads)
    for unlearner in chosen:
        if isinstance(unlearner, GradientUnlearner):
            unlearner.prepare(copy.deepcopy(model), task, runtime)


def _expected(study: Study) -> Scores:
    """Return scores that are unknown where the pool's will be, and 0 elsewhere."""
    if study.experiment.score.file is not None:
        return study.scores
    total = len(study.context.bundle.train)
    unknown = np.full((2, total), bool(study.pool))
    for job in study.pool:
        rows = included_rows(total, job.fraction, job.seed)
        unknown[0, rows] = False
        unknown[1] &= np.isin(np.arange(total), rows, assume_unique=True)
        if not unknown.any():
            break
    return Scores(np.where(unknown.any(axis=0), np.nan, 0.0), name=study.experiment.score.name)
