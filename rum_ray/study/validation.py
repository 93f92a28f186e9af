"""Validation of a study before anything is trained."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import ConfigError, ScoreError
from rum_ray.evaluation.pool import LEAST_MODELS
from rum_ray.experiment import Experiment
from rum_ray.jobs import RetrainedReference, TrainPoolModel
from rum_ray.partition import Partition
from rum_ray.refinement import REFINERS
from rum_ray.refinement.matched import matched
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import included_rows
from rum_ray.search.objective import agreement_floor, floor
from rum_ray.seeding import Seed
from rum_ray.study.forget import choose_forget_set, order_subsets, refine_forget_set
from rum_ray.study.models import check_models
from rum_ray.study.spaces import check_plans
from rum_ray.study.study import Study
from rum_ray.training.first_step import check_last_batches

LARGEST_FLOOR = 0.05
LEAST_VALID = math.ceil(1 / (12 * LARGEST_FLOOR**2))
"""With fewer validation examples, the standard error of an AUC exceeds `LARGEST_FLOOR`: with n
non-members, the variance of the AUC of an attack at chance is more than 1 / (12 n)."""


def check(study: Study) -> None:
    """Choose a forget set, refine it and check the plans, with placeholders for unknown scores.

    So a list of ids that is not readable, a forget set that is too large, or a pool that leaves
    scores unknown is reported before anything is trained.

    Raises:
        ConfigError: a model does not accept the data, a layer or class does not exist, or every
            plan of a search costs too much.
        DataError: the list of ids is not valid.
        PlanError: the forget set or its subsets are not possible, or an unlearner does not fit the
            model.
        ScoreError: scores are unknown.
    """
    experiment = study.experiment
    check_models(study)
    check_pool(study)
    check_valid(study)
    scores = placeholder_scores(study)
    distances = Scores(np.zeros(len(scores)), name="distance") if study.distance_jobs else None
    bundle = study.context.bundle
    forget = choose_forget_set(experiment, bundle, scores, distances)
    retained = {"the retain set": len(bundle.train) - len(forget)}
    check_last_batches(experiment.recipe, bundle.train, retained)
    if type(experiment.refine) in REFINERS.values():
        partition = refine_forget_set(experiment, bundle, forget, scores, distances)
        check_surrogate(experiment, partition, scores, bundle.train.y.numpy())
        # The names of the subsets depend on the forget set, unless the refiner sets them.
        if hasattr(experiment.refine, "into") or _forget_set_is_known(experiment):
            ordered, sizes = order_subsets(experiment, partition), (bundle.train, bundle.valid)
            check_plans(experiment, ordered, *map(len, sizes))


def _forget_set_is_known(experiment: Experiment) -> bool:
    """Return True if the forget set is known before anything is trained."""
    forget = experiment.forget
    by_file = experiment.score.file is not None and not forget.by_distance
    return forget.ids is not None or forget.pick == "random" or forget.size is None or by_file


def check_surrogate(
    experiment: Experiment, partition: Partition, scores: Scores, labels: NDArray[np.int64]
) -> None:
    """Raise ScoreError if a class has too few retain examples for a surrogate of the forget set.

    The number of forget examples per class is known, unless scores choose among all classes.
    """
    if experiment.search is None or "surrogate" not in experiment.search.references:
        return
    size, total = len(partition.rows), len(labels)
    if 2 * size > total:
        raise ScoreError(
            "forget.size: a surrogate takes as many examples from the retain set as the forget set "
            f"has, but {size} of {total} examples are to be forgotten. Forget fewer examples."
        )
    if experiment.forget.label is not None or _forget_set_is_known(experiment):
        matched(partition, scores, labels, Seed(0))


def check_share(study: Study) -> None:
    """Raise ConfigError if the models of the pool would train on no example, or on all."""
    score, total = study.experiment.score, len(study.context.bundle.train)
    if not study.scoring.pool_size.jobs:
        return
    learned = len(included_rows(total, score.fraction, Seed(score.seed)))
    if not 0 < learned < total:
        raise ConfigError(
            f"score.fraction: {score.fraction:g} of {total} examples is {learned}; each model of "
            f"the leave-k-out pool must train on 1 to {total - 1} examples."
        )


def check_pool(study: Study) -> None:
    """Raise ConfigError if the pool has too few models per example for an attack or a search.

    The examples that each model is trained on are known before the training.
    """
    total, unused = len(study.context.bundle.train), study.scoring.reference_half
    always = int((_models_trained_on(unused, total) == len(unused)).sum()) if unused else 0
    if always:
        raise ConfigError(
            f"search.reference: pool needs a model per example that was not trained on it, but "
            f"all {len(unused)} models of half B are trained on {always} of the {total} examples. "
            "Set more score.models."
        )
    attacks, pool = study.experiment.evaluate.of_pool, study.scoring.pool
    if not attacks:
        return
    seen = _models_trained_on(pool, total)
    enough = len(pool) - seen >= LEAST_MODELS
    shadows = study.experiment.evaluate.of_shadows
    if shadows:
        enough &= seen >= LEAST_MODELS
    if not enough.all():
        seeing = f" and {LEAST_MODELS} that have" if shadows else ""
        raise ConfigError(
            f"score.models: {len(pool)} are too few for {attacks[-1]}, which needs {LEAST_MODELS} "
            f"models that have not seen an example{seeing}; {int((~enough).sum())} of {total} "
            "examples have fewer. Set more models, or a score.fraction nearer to 0.5 (now "
            f"{study.experiment.score.fraction:g})."
        )


def _models_trained_on(models: Sequence[TrainPoolModel], total: int) -> NDArray[np.int64]:
    """Return the number of models that are trained on each of `total` examples, [N]."""
    seen = np.zeros(total, dtype=np.int64)
    for model in models:
        seen[included_rows(total, model.fraction, model.seed)] += 1
    return seen


def check_valid(study: Study) -> None:
    """Raise ConfigError if V is too small for the attacks of a search."""
    search, unseen = study.experiment.search, len(study.context.bundle.valid)
    if search is not None and unseen < LEAST_VALID:
        raise ConfigError(
            f"search.attack: the noise of {search.attack} on {unseen} validation examples exceeds "
            f"{LARGEST_FLOOR}, the gap that a search must resolve. At least {LEAST_VALID} examples "
            "are necessary. Raise data.valid_fraction, for example."
        )


def check_floor(study: Study) -> None:
    """Raise ConfigError if the noise of the objective hides differences between plans.

    An attack may separate the retrained models of a reference by 0.05, and the agreement of two of
    them may have a standard error of 0.05. The noise falls with the root of the number of
    validation examples; the message estimates the number that is necessary (docs/protocol.md 4).
    """
    search, unseen = study.require_search(), len(study.context.bundle.valid)
    for name, reference in study.references.items():
        if not isinstance(reference, RetrainedReference):
            continue
        retrained = [model.load(study.context) for model in reference.models]
        if search.objective == "examples":
            noise = agreement_floor([model.predicted for model in retrained])
            place, other = "objective", "objective=tow_gap"
            seen = f"the agreement of two retrained models of the {name} has a standard error of"
        else:
            noise, pairs = floor(retrained, search.attack), math.comb(len(retrained), 2)
            place, other = "attack", "auc" if search.attack == "svm" else "a larger forget set"
            seen = (
                f"{search.attack} sees a gap between the retrained models of the {name} (95th "
                f"percentile of {pairs} pairs) of"
            )
        if noise > LARGEST_FLOOR:
            needed = math.ceil(unseen * (noise / LARGEST_FLOOR) ** 2)
            raise ConfigError(
                f"search.{place}: {seen} {noise:.3f}; at most {LARGEST_FLOOR} is allowed. About "
                f"{needed:,} validation examples would do, and there are {unseen:,}; set more "
                f"aside, or use {other}."
            )


def placeholder_scores(study: Study) -> Scores:
    """Return NaN for examples whose score the pool will leave unknown, and 0 for the others."""
    if study.experiment.score.file is not None:
        return study.scores
    total = len(study.context.bundle.train)
    unknown = np.full((2, total), bool(study.scoring.scoring_half))
    for job in study.scoring.scoring_half:
        rows = included_rows(total, job.fraction, job.seed)
        unknown[0, rows] = False
        unknown[1] &= np.isin(np.arange(total), rows, assume_unique=True)
        if not unknown.any():
            break
    return Scores(np.where(unknown.any(axis=0), np.nan, 0.0), name=study.experiment.score.name)
