"""What can be known of a study before anything is trained."""

import numpy as np

from rum_ray.refinement import REFINERS, forget_set
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import included_rows
from rum_ray.study.study import Study


def check(study: Study) -> None:
    """Choose, refine and plan with stand-ins for scores that are not known yet.

    So a list of ids that cannot be read, a forget set that is too large, or a pool that leaves
    scores unknown is told before anything is trained.

    Raises:
        DataError: the list of ids is wrong.
        PlanError: the forget set or its subsets cannot be made.
        ScoreError: scores are unknown.
    """
    experiment, config = study.experiment, study.experiment.forget
    scores = _expected(study)
    if config.ids is not None:
        forget = study.forget
    else:
        assert config.size is not None
        forget = forget_set(scores, config.size, config.pick, config.middle)
    if type(experiment.refine) in REFINERS.values():
        partition = experiment.refine(forget, scores)
        if experiment.plan is not None:
            Plan.assign(partition, experiment.plan, experiment.retain)


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
