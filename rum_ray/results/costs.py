"""The cost of a study by part, and of its plan, in trainings of the original."""

import math
from collections.abc import Sequence

from rum_ray.results.outcome import Outcome
from rum_ray.results.rows import find_row
from rum_ray.results.schema import Bill, Costs, Row
from rum_ray.unlearning.base import FORWARD_ONLY

_MODELS = ("retrained", "retrained_again", "retrained_reordered", "original")


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
        search=prepared
        + sum(search.cost for search in outcome.searches)
        + outcome.ranges
        + outcome.tuning,
        references=0 if outcome.experiment.evaluate.retrained else 3 * seeds,
        plans=sum(cost * seeds for cost in plans),
        attacks=_attacks(outcome),
    )


def bill(outcome: Outcome, rows: Sequence[Row]) -> Bill | None:
    """Return the whole cost of the plan of the search, or of the file; None without a plan."""
    plan = find_row(rows, "rum") or find_row(rows, "rum", "file")
    cost = None if plan is None else plan.metrics["cost"].mean
    if plan is None or cost is None:
        return None
    search, references, asked = 0.0, 0.0, False
    if outcome.searches and plan.source == "search":
        main, *_ = outcome.references
        last = [each for each in outcome.searches if each.config.reference == main][-1]
        trained = 0 if outcome.experiment.recipe.weights else outcome.originals
        search = outcome.ranges + trained + last.whole + last.cost - last.spent
        references, asked = outcome.references[main], main == "oracle"
    return bill_of(outcome.examples.cost, search, references, cost, asked)


def bill_of(scores: float, search: float, references: float, plan: float, asked: bool) -> Bill:
    """Return a bill; `asked` is True if each request needs references of its own."""
    fixed = scores + search + (0.0 if asked else references)
    per_request = plan + (references if asked else 0.0)
    total = scores + search + references + plan
    return Bill(
        *(scores, search, references, plan, total, fixed, per_request),
        break_even=break_even(fixed, per_request),
    )


def break_even(fixed: float, per_request: float) -> int | None:
    """Return the first number of requests that cost less than retraining per request.

    Args:
        fixed: paid once, in trainings.
        per_request: paid per request, in trainings; retraining costs 1.
    """
    if per_request >= 1:
        return None
    # Where both cost the same, neither is cheaper; the quotient may lie a rounding below.
    return math.floor(fixed / (1 - per_request) + 1e-9) + 1


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
