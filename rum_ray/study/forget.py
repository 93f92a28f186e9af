"""What an experiment forgets and in which parts, from what is known of the examples."""

from typing import Any

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.data.ids import read_rows
from rum_ray.experiment import Experiment
from rum_ray.refinement import forget_set, needs
from rum_ray.rum import Partition
from rum_ray.scores.base import Scores


def needs_distances(experiment: Experiment) -> bool:
    """Return whether the forget set or its subsets depend on distances in embedding space."""
    return experiment.forget.by_distance or "distances" in needs(experiment.refine)


def chosen(
    experiment: Experiment, bundle: DataBundle, scores: Scores, distances: Scores | None
) -> Indices:
    """Return the forget set that an experiment lists or chooses.

    Raises:
        ConfigError: there is no such class.
        DataError: the list is wrong.
        PlanError: there are not enough examples.
        ScoreError: a score that counts is unknown.
    """
    config = experiment.forget
    if config.ids is not None:
        return read_rows(config.ids, bundle.train.ids)
    far = distances if config.by_distance else None
    return forget_set(
        scores if far is None else far,
        config.size,
        config.pick,
        config.middle or ("half" if experiment.score.name == "memorization" else "median"),
        groups=None if far is None else config.groups,
        label=None if config.label is None else bundle.class_index(config.label),
        labels=bundle.train.y,
        seed=config.seed,
    )


def refined(
    experiment: Experiment,
    bundle: DataBundle,
    forget: Indices,
    scores: Scores,
    distances: Scores | None,
) -> Partition:
    """Return a forget set as subsets; the refiner is given what it needs."""
    refiner: Any = experiment.refine
    known = {"distances": distances, "labels": bundle.train.y.numpy()}
    partition: Partition = refiner(forget, scores, **{n: known[n] for n in needs(refiner)})
    return partition


def ordered(experiment: Experiment, partition: Partition) -> Partition:
    """Return the subsets in the experiment's order, or in the refiner's."""
    return partition if experiment.order is None else partition.ordered(experiment.order)
