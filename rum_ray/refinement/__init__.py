"""What to forget, and in which parts: forget sets, and refiners by their YAML names."""

from collections.abc import Mapping

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
    "forget_set",
    "needs",
    "refine",
]
