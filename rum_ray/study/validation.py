"""What can be known of a study before anything is trained."""

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.batches import to_float
from rum_ray.errors import ConfigError, ScoreError
from rum_ray.evaluation.pool import LEAST_MODELS
from rum_ray.experiment import Experiment
from rum_ray.jobs import RetrainedReference, TrainPoolModel
from rum_ray.jobs.pretrained import read_weights
from rum_ray.models import embed
from rum_ray.refinement import REFINERS
from rum_ray.refinement.matched import matched
from rum_ray.rum import Partition
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import included_rows
from rum_ray.search.objective import floor
from rum_ray.seeding import Seed
from rum_ray.study.forget import chosen, ordered, refined
from rum_ray.study.spaces import check_plans
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import GradientUnlearner, UnlearningTask

LARGEST_FLOOR = 0.05
LEAST_VALID = math.ceil(1 / (12 * LARGEST_FLOOR**2))
"""Below it, the standard error of an AUC is above the largest floor whatever the forget set's size:
with n non-members its variance is more than 1 / (12 n) where nothing can be told apart."""


def check(study: Study) -> None:
    """Choose, refine and plan with stand-ins for scores that are not known yet.

    So a list of ids that cannot be read, a forget set that is too large, or a pool that leaves
    scores unknown is told before anything is trained.

    Raises:
        ConfigError: a model does not take the data, there is no such layer or class, or a search
            has no plan that it may try.
        DataError: the list of ids is wrong.
        PlanError: the forget set or its subsets cannot be made, or an unlearner does not suit the
            model.
        ScoreError: scores are unknown.
    """
    experiment = study.experiment
    model = _build(study, experiment.recipe, embeds=True)
    _prepare(study, model)
    if experiment.recipe.weights is not None:
        read_weights(experiment.recipe.weights, study.recipe, study.context.bundle.train)
    if experiment.score.recipe is not None:
        _build(study, experiment.score.recipe, embeds=False)
    check_pool(study)
    check_valid(study)
    scores = _expected(study)
    distances = Scores(np.zeros(len(scores)), name="distance") if study.distance_jobs else None
    bundle = study.context.bundle
    forget = chosen(experiment, bundle, scores, distances)
    if type(experiment.refine) in REFINERS.values():
        partition = refined(experiment, bundle, forget, scores, distances)
        check_surrogate(experiment, partition, scores, bundle.train.y.numpy())
        # Without names of their own, the subsets depend on the forget set that is chosen.
        if hasattr(experiment.refine, "into") or _chosen_already(experiment):
            check_plans(experiment, ordered(experiment, partition), len(bundle.train))


def _chosen_already(experiment: Experiment) -> bool:
    """Return whether the forget set is known before anything is trained."""
    forget = experiment.forget
    by_file = experiment.score.file is not None and not forget.by_distance
    return forget.ids is not None or forget.pick == "random" or forget.size is None or by_file


def check_surrogate(
    experiment: Experiment, partition: Partition, scores: Scores, labels: NDArray[np.int64]
) -> None:
    """Raise ScoreError if too few of a class are retained to make a surrogate of the forget set.

    How many of each class are forgotten is known unless scores choose among all classes.
    """
    if experiment.search is None or "surrogate" not in experiment.search.references:
        return
    size, total = len(partition.rows), len(labels)
    if 2 * size > total:
        raise ScoreError(
            f"a surrogate has as many retain examples as are forgotten, and {size} of {total} are: "
            "forget fewer of them."
        )
    if experiment.forget.label is not None or _chosen_already(experiment):
        matched(partition, scores, labels, Seed(0))


def check_share(study: Study) -> None:
    """Raise ConfigError if the pool's models would learn nothing, or all there is."""
    score, total = study.experiment.score, len(study.context.bundle.train)
    if not study.scoring.pool_size.jobs:
        return
    learned = len(included_rows(total, score.fraction, Seed(score.seed)))
    if not 0 < learned < total:
        raise ConfigError(
            f"score.fraction: {score.fraction:g} of {total} examples is {learned}; each model of "
            f"the leave-k-out pool must learn 1 to {total - 1} of them."
        )


def check_pool(study: Study) -> None:
    """Raise ConfigError if an attack, or a search, will find too few models for an example.

    Which examples a model is trained on is known beforehand.
    """
    total, unused = len(study.context.bundle.train), study.scoring.unused
    always = int((_learned(unused, total) == len(unused)).sum()) if unused else 0
    if always:
        raise ConfigError(
            f"search.reference: pool asks the {len(unused)} models of odd number what they say of "
            f"examples that they did not learn, and all of them learn {always} of the {total} "
            "examples. Give more score.models."
        )
    attacks, pool = study.experiment.evaluate.of_pool, study.scoring.pool
    if not attacks:
        return
    seen = _learned(pool, total)
    enough = len(pool) - seen >= LEAST_MODELS
    shadows = study.experiment.evaluate.of_shadows
    if shadows:
        enough &= seen >= LEAST_MODELS
    if not enough.all():
        seeing = f" and {LEAST_MODELS} that have" if shadows else ""
        raise ConfigError(
            f"evaluate.also: {attacks[-1]} needs {LEAST_MODELS} models that have not seen an "
            f"example{seeing}; with score.models="
            f"{len(pool)}, {int((~enough).sum())} of {total} examples lack them. Give more models, "
            f"or a score.fraction nearer to 0.5 (now {study.experiment.score.fraction:g})."
        )


def _learned(models: Sequence[TrainPoolModel], total: int) -> NDArray[np.int64]:
    """Return how many of these models learn each of `total` examples, [N]."""
    seen = np.zeros(total, dtype=np.int64)
    for model in models:
        seen[included_rows(total, model.fraction, model.seed)] += 1
    return seen


def check_valid(study: Study) -> None:
    """Raise ConfigError if V is too small for any attack of a search."""
    search, unseen = study.experiment.search, len(study.context.bundle.valid)
    if search is not None and unseen < LEAST_VALID:
        raise ConfigError(
            f"search.attack: {search.attack} on {unseen} validation examples is noisier than the "
            f"gap of {LARGEST_FLOOR} that a search must see; it needs at least {LEAST_VALID}. Set "
            "more aside, such as with data.valid_fraction."
        )


def check_floor(study: Study) -> None:
    """Raise ConfigError if the search's attack tells retrained models from each other.

    A gap of 0.05 between them hides what is searched for. Noise of an attack falls with the root
    of the number of non-members, so its square says how many would do (docs/protocol.md 4).
    """
    attack, unseen = study.require_search().attack, len(study.context.bundle.valid)
    for name, known in study.references.items():
        if not isinstance(known, RetrainedReference):
            continue
        found = floor([model.load(study.context) for model in known.models], attack)
        if found > LARGEST_FLOOR:
            pairs = math.comb(len(known.models), 2)
            needed = math.ceil(unseen * (found / LARGEST_FLOOR) ** 2)
            other = "auc" if attack == "svm" else "a larger forget set"
            raise ConfigError(
                f"search.attack: {attack} sees a gap of {found:.3f} between the retrained models "
                f"of the {name} (the 95th percentile of {pairs} pairs), and {LARGEST_FLOOR} is "
                f"allowed. About {needed:,} validation examples would do, and there are "
                f"{unseen:,}; or use {other}."
            )


def _build(study: Study, recipe: Recipe, embeds: bool) -> nn.Module:
    """Return the recipe's model; ConfigError unless it takes the data and gives logits.

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
    return model


def _prepare(study: Study, model: nn.Module) -> None:
    """Raise PlanError if a chosen unlearner finds nothing in the model that it could work on."""
    experiment, train = study.experiment, study.context.bundle.train
    unlearners = [*(experiment.plan or {}).values(), *experiment.compare]
    if experiment.search is not None:
        unlearners += [c.unlearner(c.defaults) for c in experiment.search.unlearners]
        unlearners += experiment.search.steps.values()
    task = UnlearningTask(train.take([0]), train.take([1]), model)
    runtime = LocalRuntime(Seed(0), threads=experiment.recipe.threads)
    for unlearner in unlearners:
        if isinstance(unlearner, GradientUnlearner):
            unlearner.prepare(copy.deepcopy(model), task, runtime)


def _expected(study: Study) -> Scores:
    """Return scores that are unknown where the pool's will be, and 0 elsewhere."""
    if study.experiment.score.file is not None:
        return study.scores
    total = len(study.context.bundle.train)
    unknown = np.full((2, total), bool(study.scoring.choosing))
    for job in study.scoring.choosing:
        rows = included_rows(total, job.fraction, job.seed)
        unknown[0, rows] = False
        unknown[1] &= np.isin(np.arange(total), rows, assume_unique=True)
        if not unknown.any():
            break
    return Scores(np.where(unknown.any(axis=0), np.nan, 0.0), name=study.experiment.score.name)
