"""The difficulty of D's rows by what is at hand: a pool, recorded events, or the model itself."""

import numpy as np
from numpy.typing import NDArray

from rum_ray.deletion.measure import Predictions
from rum_ray.deletion.models import own_recipe, run_seed
from rum_ray.deletion.pool import Prepared, missed_by
from rum_ray.deletion.request import Request
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment import Experiment
from rum_ray.experiment.score import AUTO
from rum_ray.jobs import Context, TrainModel
from rum_ray.scores.base import Scores
from rum_ray.scores.files import read_scores
from rum_ray.scores.learning_events import EVENTS

MEMORIZATION = "memorization"
CONFIDENCE = "confidence"


def difficulty(
    experiment: Experiment,
    context: Context,
    request: Request,
    before: Predictions,
    prepared: Prepared | None,
) -> Scores:
    """Return the scores of D; rows outside the request may be unknown.

    Args:
        experiment: names the score; "auto" is the best one that is there.
        context: all data that are there, and the store.
        request: has the rows that remain of these data.
        before: predictions of the model that the request starts from.
        prepared: the pool, if there is one.

    Raises:
        ConfigError: the named score is not there.
        DataError: the file of scores cannot be read.
    """
    known = known_scores(experiment, context, request, prepared)
    if known is None:
        return Scores(missed_by(before.logits["train"]), name="1 - p of the given model")
    return known


def known_scores(
    experiment: Experiment, context: Context, request: Request, prepared: Prepared | None
) -> Scores | None:
    """Return the scores of `difficulty`, or None if they follow from the given model.

    Raises:
        ConfigError: the named score is not there.
        DataError: the file of scores cannot be read.
    """
    score = experiment.score
    if score.file is not None:
        return read_scores(score.file, request.bundle.train, score.name)
    if prepared is not None and score.name in (AUTO, MEMORIZATION):
        known = dict(zip(prepared.ids, prepared.scores, strict=True))
        values = [known.get(each, np.nan) for each in request.hashes]
        return Scores(np.array(values), name=MEMORIZATION)
    name = CONFIDENCE if score.name == AUTO else score.name
    recorded = _recorded(experiment, context, name)
    if recorded is not None and len(recorded) == len(request.kept) + len(request.past):
        return Scores(recorded[request.kept], name=name)
    if score.name == AUTO:
        return None
    raise ConfigError(
        f"score.name: '{score.name}' is not there for a request to forget. Run 'rum-ray prepare', "
        f"or set score.name to auto. {did_you_mean(score.name, [AUTO, MEMORIZATION, *EVENTS])}"
    )


def _recorded(experiment: Experiment, context: Context, name: str) -> NDArray[np.float64] | None:
    """Return a score that the training of the original recorded; None if there is none."""
    job = TrainModel(own_recipe(experiment), run_seed(experiment))
    if experiment.recipe.weights is not None or name not in EVENTS or not context.has(job):
        return None
    return context.load(job).arrays[f"events/{name}"]
