"""What a study spent, in trainings of the original."""

from collections.abc import Sequence
from typing import Any

from rum_ray.jobs import (
    SearchJob,
    relative_cost,
    retraining_cost,
)
from rum_ray.jobs.search import FRESH_SEEDS
from rum_ray.study.costs import training_cost, trainings
from rum_ray.study.methods import Row, pool_jobs, residual_jobs, shadow_jobs
from rum_ray.study.study import Study
from rum_ray.unlearning.base import FORWARD_ONLY


def costs(study: Study, methods: Sequence[Row], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what was spent, in trainings of the original.

    Of the leave-k-out pool this is what counts. Models that were in training when it was found to
    be large enough lie in the store, unused, and are counted in the stages only: how many they are
    depends on the workers.

    Args:
        study: which is finished.
        methods: the rows, with their jobs.
        rows: as report.json has them.
    """
    seeds = len(study.originals)
    trained = 0 if study.experiment.recipe.weights else 1
    prepared = trained * len(study.search_originals) + sum(map(trainings, study.judged))
    return {
        "unit": "trainings of the original",
        "scores": sum(training_cost(study, job) for job in study.scoring.jobs),
        "originals": trained * seeds,
        "search": prepared + sum(_tried(study, s) for s in study.searches.values()),
        "references": 2 * seeds,
        "plans": sum(
            row["metrics"]["cost"]["mean"] * seeds
            for row in rows
            if row["method"] not in ("retrained", "retrained_again", "original")
        ),
        "attacks": _attacks(study, methods),
    }


def _attacks(study: Study, methods: Sequence[Row]) -> float:
    """Return what relearning, residuals, asking the pool and shadow models cost."""
    total, epochs = len(study.context.bundle.train), study.experiment.recipe.epochs
    relearn = study.experiment.evaluate.relearn
    again = 0 if relearn is None else relearn.epochs * sum(len(row.jobs) for row in methods)
    retained = (total - len(study.forget)) / total
    asked = FORWARD_ONLY * len(pool_jobs(study)) * (1 + len(study.context.bundle.test) / total)
    asked += FORWARD_ONLY * len(residual_jobs(study, methods))
    shadows = sum(job.cost(total) for job in shadow_jobs(study, methods))
    return (again * retained + asked) / epochs + shadows


def _tried(study: Study, search: SearchJob) -> float:
    """Return what a search's trials and finalists cost."""
    context, total = study.context, len(study.context.bundle.train)
    ran = search.spent(context) / retraining_cost(study.recipe, len(study.forget), total)
    fresh = [relative_cost(p, study.recipe, total) for p in search.finalists(context)]
    return ran * search.config.seeds + sum(fresh) * FRESH_SEEDS
