"""The forget set of an experiment and its subsets, from scores and distances."""

import itertools
from typing import Any

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.data.ids import read_list
from rum_ray.errors import PlanError, at
from rum_ray.experiment import Experiment
from rum_ray.partition import Partition, members
from rum_ray.refinement import forget_set, needs
from rum_ray.scores.base import Scores


def needs_distances(experiment: Experiment) -> bool:
    """Return True if the forget set or its subsets depend on distances in embedding space."""
    return experiment.forget.by_distance or "distances" in needs(experiment.refine)


def choose_forget_set(
    experiment: Experiment, bundle: DataBundle, scores: Scores, distances: Scores | None
) -> Indices:
    """Return the rows of the forget set, from a list of ids or by score or distance.

    Raises:
        ConfigError: the class to forget does not exist.
        DataError: the list of ids is not valid.
        PlanError: there are not enough examples.
        ScoreError: a score that decides is unknown.
    """
    config = experiment.forget
    if config.ids is not None:
        rows = listed_rows(config.ids, bundle)
        if len(rows) == len(bundle.train):
            raise PlanError(
                f"forget.ids: {config.ids} lists all {len(rows)} training examples, so none would "
                "remain. List fewer."
            )
        return rows
    if not config.by_distance:
        distances = None
    with at("forget.class"):
        label = None if config.label is None else bundle.class_index(config.label)
    with at("forget"):
        return forget_set(
            scores if distances is None else distances,
            config.size,
            config.pick,
            config.middle or ("half" if experiment.score.name == "memorization" else "median"),
            groups=None if distances is None else config.groups,
            label=label,
            labels=bundle.train.y,
            seed=config.seed,
        )


def listed_rows(path: str, bundle: DataBundle) -> Indices:
    """Return the sorted rows of the training examples that a file lists."""
    return bundle.train.known_ids.rows(read_list(path), path)


def refine_forget_set(
    experiment: Experiment,
    bundle: DataBundle,
    forget: Indices,
    scores: Scores,
    distances: Scores | None,
) -> Partition:
    """Return the subsets of a forget set; the refiner receives the inputs of its `needs`."""
    refiner: Any = experiment.refine
    inputs = {"distances": distances, "labels": bundle.train.y.numpy()}
    with at("refine"):
        partition: Partition = refiner(forget, scores, **{n: inputs[n] for n in needs(refiner)})
    return partition


def order_subsets(experiment: Experiment, partition: Partition) -> Partition:
    """Return the subsets in the experiment's order, or in the refiner's."""
    if experiment.order is None:
        return partition
    names = (members(step, partition.names) for step in experiment.order)
    return partition.ordered([*itertools.chain(*names)])
