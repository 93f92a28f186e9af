"""Forget sets, and refiners that split them into subsets. `REFINERS` lists the refiners.

Example:
    >>> import numpy as np
    >>> import rum_ray as rr
    >>> refiner = rr.REFINERS["by_score"](into=("easy", "hard"))
    >>> parts = refiner(np.array([0, 1, 2, 3]), rr.Scores([0.9, 0.1, 0.2, 0.8]))
    >>> [(subset.name, subset.rows.tolist()) for subset in parts]
    [('easy', [1, 2]), ('hard', [0, 3])]
"""

from collections.abc import Mapping

from rum_ray.plugins import find, implementing
from rum_ray.refinement.refiners import (
    ByClass,
    ByEntanglement,
    ByScore,
    Grid,
    Refiner,
    Shuffle,
    needs,
    refine,
)
from rum_ray.refinement.sets import Middle, Pick, forget_set

REFINERS: Mapping[str, type[Refiner]] = {
    "by_score": ByScore,
    "by_entanglement": ByEntanglement,
    "grid": Grid,
    "by_class": ByClass,
    "shuffle": Shuffle,
}
"""Refiners by their YAML names."""


def find_refiner(name: str) -> type[Refiner]:
    """Return the class of a refiner.

    Args:
        name: a key of `REFINERS`, or `package.module:Class`.

    Raises:
        ConfigError: the name is unknown, or the plug-in is refused.
    """
    cls: type[Refiner] = find(name, REFINERS, "refiner", implementing(Refiner))
    return cls


__all__ = [
    "REFINERS",
    "ByClass",
    "ByEntanglement",
    "ByScore",
    "Grid",
    "Middle",
    "Pick",
    "Refiner",
    "Shuffle",
    "find_refiner",
    "forget_set",
    "needs",
    "refine",
]
