"""The cost of a study by part, in trainings of the original."""

from collections.abc import Sequence

from rum_ray.results.outcome import Outcome
from rum_ray.results.schema import Costs, Row
from rum_ray.unlearning.base import FORWARD_ONLY

_MODELS = ("retrained", "retrained_again", "original")


def costs(outcome: Outcome, rows: Sequence[Row]) -> Costs:
    """Return the cost of a finished study by part, in trainings of the original.

    Only leave-k-out models that count are part of it. Models that were in training when the pool
    was found to be large enough stay in the store unused. They count in the wall time of the stages
    only, because their number depends on the workers.
    """
    seeds = len(outcome.experiment.seeds)
    trained = 0 if outcome.experiment.recipe.weights else 1
    prepared = trained * outcome.originals + sum(outcome.references.values())
    plans = [row.metrics["cost"].mean or 0.0 for row in rows if row.method not in _MODELS]
    return Costs(
        unit="trainings of the original",
        scores=outcome.examples.cost,
        originals=trained * seeds,
        search=prepared + sum(search.cost for search in outcome.searches) + outcome.tuning,
        references=2 * seeds,
        plans=sum(cost * seeds for cost in plans),
        attacks=_attacks(outcome),
    )


def _attacks(outcome: Outcome) -> float:
    """Return the cost of relearning, residuals, answers of the pool, and shadow models."""
    measured, total = outcome.measured, outcome.data.train
    relearn, pool = measured.config.relearn, measured.pool
    evaluated = sum(len(method.evaluations) for method in measured.methods)
    again = 0 if relearn is None else relearn.epochs * evaluated
    retained = (total - len(outcome.forget.rows)) / total
    models = 0 if pool is None else len(pool.unseen)
    asked = FORWARD_ONLY * models * (1 + outcome.data.test / total)
    asked += FORWARD_ONLY * sum(method.streamed for method in measured.methods)
    shadows = sum(m.shadows.cost for m in measured.methods if m.shadows is not None)
    return (again * retained + asked) / outcome.experiment.recipe.epochs + shadows
