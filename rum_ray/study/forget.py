"""What an experiment forgets and in which parts, from what is known of the examples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.data.ids import read_rows
from rum_ray.experiment import Experiment
from rum_ray.refinement import ByScore, forget_set, needs
from rum_ray.rum import Partition
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import memorization
from rum_ray.scores.reliability import bootstrap_scores
from rum_ray.seeding import Seed


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


def levels(values: NDArray[np.float64], subsets: int) -> NDArray[np.int64]:
    """Return into which subset each of the forget set's scores [S] falls, by the order of score."""
    by_score = ByScore(into=tuple(map(str, range(subsets))))
    found = np.empty(len(values), dtype=np.int64)
    for level, subset in enumerate(by_score(np.arange(len(values)), Scores(values))):
        found[subset.rows] = level
    return found


def changed_share(
    included: NDArray[np.bool_], correct: NDArray[np.bool_], subsets: int, seed: Seed
) -> float:
    """Return the share of the forget set whose subset other models would change, in [0, 1].

    Pools of as many models are drawn with replacement, and each splits the forget set by its own
    score; the share is the mean over pools. What a pool leaves unknown keeps its score.

    Args:
        included: [M, S] bool, model m trained on example n of the forget set.
        correct: [M, S] bool, model m predicts its label.
        subsets: how many there are.
        seed: root of the scores; the draws come from it.
    """
    scores = memorization(included, correct).values
    ours = levels(scores, subsets)
    pools = bootstrap_scores(included, correct, seed / "bootstrap" / "models")
    drawn = (np.where(np.isnan(values), scores, values) for values in pools)
    return float(np.mean([(levels(values, subsets) != ours).mean() for values in drawn]))
