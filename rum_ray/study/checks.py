"""What can be known of a study before anything is trained."""

import numpy as np
import torch

from rum_ray.data.batches import to_float
from rum_ray.errors import ConfigError
from rum_ray.models import embed
from rum_ray.refinement import REFINERS
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.study.choosing import chosen, refined
from rum_ray.study.study import Study
from rum_ray.training.recipe import Recipe


def check(study: Study) -> None:
    """Choose, refine and plan with stand-ins for scores that are not known yet.

    So a list of ids that cannot be read, a forget set that is too large, or a pool that leaves
    scores unknown is told before anything is trained.

    Raises:
        ConfigError: a model does not take the data, or there is no such layer or class.
        DataError: the list of ids is wrong.
        PlanError: the forget set or its subsets cannot be made.
        ScoreError: scores are unknown.
    """
    experiment = study.experiment
    _build(study, experiment.recipe, embeds=True)
    if experiment.score.recipe is not None:
        _build(study, experiment.score.recipe, embeds=False)
    scores = _expected(study)
    distances = Scores(np.zeros(len(scores)), name="distance") if study.distance_jobs else None
    bundle = study.context.bundle
    if experiment.forget.ids is not None:
        forget = study.forget
    else:
        forget = chosen(experiment, bundle, scores, distances)
    if type(experiment.refine) in REFINERS.values():
        partition = refined(experiment, bundle, forget, scores, distances)
        # Without names of their own, the subsets depend on the forget set that is chosen.
        if experiment.plan is not None and hasattr(experiment.refine, "into"):
            Plan.assign(partition, experiment.plan, experiment.retain)


def _build(study: Study, recipe: Recipe, embeds: bool) -> None:
    """Raise ConfigError unless the recipe's model takes the data and gives logits.

    Args:
        study: whose data.
        recipe: of the model.
        embeds: whether it must give embeddings, too.
    """
    train = study.context.bundle.train
    try:
        model = recipe.build(train, Seed(0)).eval()
        with torch.inference_mode():
            inputs = to_float(train.x[:2])
            if embeds:
                embed(model, inputs, study.experiment.embedding)
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
