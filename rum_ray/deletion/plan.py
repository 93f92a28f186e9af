"""The subsets of a request by difficulty, its plan, and the cost of both."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment
from rum_ray.jobs import relative_cost, retraining_cost
from rum_ray.partition import JOINT, Partition, Subset, members
from rum_ray.refinement import ByScore, needs
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.search.auto import auto_plan
from rum_ray.unlearning import Unlearner
from rum_ray.unlearning.base import FORWARD_ONLY

Source = Literal["file", "auto"]


def subsets(experiment: Experiment, bundle: DataBundle, rows: Indices, scores: Scores) -> Partition:
    """Return the subsets of a request, in the order of unlearning.

    A request with fewer rows than subsets has one subset for each third of D, by score, that has
    one of its rows.

    Raises:
        ConfigError: the refiner needs distances in embedding space.
        ScoreError: a score is unknown.
    """
    refiner = experiment.refine
    wanted = needs(refiner)
    if "distances" in wanted:
        raise ConfigError(
            "refine: a request to forget has no distances in embedding space. Use by_score, which "
            "is the default, or by_class."
        )
    if isinstance(refiner, ByScore) and len(rows) < len(refiner.into):
        partition = _by_thirds(refiner.into, rows, scores)
    else:
        labels = {"labels": bundle.train.y.numpy()} if "labels" in wanted else {}
        partition = refiner(rows, scores, **labels)
    return partition if experiment.order is None else _ordered(partition, experiment.order)


def _ordered(partition: Partition, steps: Iterable[str]) -> Partition:
    """Return the subsets in the order of the steps, as far as there are such subsets."""
    order = itertools.chain(*(members(step, partition.names) for step in steps))
    return partition.ordered([name for name in order if name in partition.names])


def _by_thirds(into: tuple[str, ...], rows: Indices, scores: Scores) -> Partition:
    """Return a subset for each part of D by ascending score that has one of the rows."""
    known = np.sort(scores.values[np.isfinite(scores.values)])
    shares = np.searchsorted(known, scores.values[rows], side="left") / max(len(known), 1)
    parts = np.minimum((shares * len(into)).astype(np.int64), len(into) - 1)
    return Partition(tuple(Subset(into[part], rows[parts == part]) for part in np.unique(parts)))


def make_plan(experiment: Experiment, partition: Partition, total: int) -> tuple[Plan, Source]:
    """Return the plan of a request, and its origin.

    Args:
        experiment: has the plan.
        partition: the subsets of the request.
        total: number of rows of D.

    Raises:
        PlanError: the plan does not fit the subsets.
    """
    given: Mapping[str, Unlearner] = experiment.plan or {}
    source: Source = "auto" if given == auto_plan(experiment.recipe) else "file"
    if source == "auto":
        given = auto_plan(experiment.recipe, len(partition.rows) / total)
        partition = _ordered(partition, given)
    known = getattr(experiment.refine, "into", partition.names)
    steps: dict[str, Unlearner] = {}
    for name, unlearner in given.items():
        held = members(name, known)
        # A small request lacks subsets; a name that no request has is an error of the plan.
        kept = [each for each in held if each in partition.names or each not in known]
        if kept:
            steps[name if len(kept) == len(held) else JOINT.join(kept)] = unlearner
    return Plan.assign(partition, steps, experiment.retain), source


@dataclass(frozen=True)
class Cost:
    """The cost of a request before it is run, in trainings of the original.

    Attributes:
        plan: the unlearning.
        measuring: predictions of D, T and the rows forgotten before, by each model.
        reference: retrained models.
    """

    plan: float
    measuring: float
    reference: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.plan + self.measuring + self.reference


def cost_of(experiment: Experiment, plan: Plan, bundle: DataBundle, past: int) -> Cost:
    """Return the cost of a request.

    Args:
        experiment: has the recipe and the reference.
        plan: of the request.
        bundle: D without the rows forgotten before, and T.
        past: number of rows forgotten before that are measured.
    """
    total, forget, recipe = len(bundle.train), len(plan.partition.rows), experiment.recipe
    one = FORWARD_ONLY / retraining_cost(recipe, forget, total)
    retrains = experiment.deletion.reference == "retrain"
    # A comparison with a retrained model predicts D and T once more with both models.
    passes = 2 * (total + len(bundle.test) + past) + 2 * retrains * (total + len(bundle.test))
    return Cost(relative_cost(plan, recipe, total), one * passes, float(retrains))


def break_even(prepared: float, per_request: float) -> int | None:
    """Return the first number of requests at which preparing and deleting costs less.

    None if a request costs as much as retraining.

    Example:
        >>> break_even(22.0, 0.21), break_even(0.0, 0.21), break_even(22.0, 1.5)
        (28, 1, None)
    """
    if per_request >= 1:
        return None
    # Sums of shares are rounded: 3 / (1 - 0.99) is 300.
    return int(round(prepared / (1 - per_request), 6)) + 1
