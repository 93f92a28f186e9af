"""Forget sets chosen by score, and refiners that split a forget set into alike subsets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices
from rum_ray.errors import PlanError, ScoreError
from rum_ray.rum import Partition, Subset
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed

Pick = Literal["low", "medium", "high", "spread"]
Middle = Literal["half", "median", "rank"]


def forget_set(
    scores: Scores,
    size: int,
    pick: Pick = "spread",
    middle: Middle = "half",
    missing: Literal["raise", "drop"] = "raise",
) -> Indices:
    """Return the rows to forget, chosen by their score; ties go to the lower row.

    Args:
        scores: [N], higher is harder.
        size: how many.
        pick: the lowest, the middle, the highest, or a third of each ("spread"; what is left of a
            size that 3 does not divide goes to low, then medium; low is taken first, then high).
        middle: nearest to one "half", nearest to the "median", or the middle "rank".
        missing: whether unknown scores raise, or are left out.

    Returns:
        int64 rows, sorted and unique.

    Raises:
        ScoreError: a score is unknown.
        PlanError: there are not enough examples.
    """
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be raise or drop, got '{missing}'")
    values = scores.values
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < len(values) and missing == "raise":
        raise ScoreError(
            f"{scores.name} is unknown for {len(values) - len(known)} of {len(values)} examples. "
            'Score with more models, or pass missing="drop".'
        )
    if not 0 < size < len(known):
        raise PlanError(
            f"a forget set of {size} cannot be chosen from {len(known)} examples; "
            f"allowed are 1 .. {len(known) - 1}."
        )
    ascending = known[np.argsort(values[known], kind="stable")]
    descending = known[np.argsort(-values[known], kind="stable")]
    return np.sort(_picked(ascending, descending, values, size, pick, middle))


def _picked(
    ascending: Indices,
    descending: Indices,
    values: NDArray[np.float64],
    size: int,
    pick: Pick,
    middle: Middle,
) -> Indices:
    """Return `size` of the rows, which come in both orders of score."""
    if pick == "low":
        return ascending[:size]
    if pick == "high":
        return descending[:size]
    if pick == "medium":
        return _middle(ascending, values, size, middle)
    if pick != "spread":
        raise ValueError(f"pick must be low, medium, high or spread, got '{pick}'")
    thirds = [len(part) for part in np.array_split(np.arange(size), 3)]
    low = ascending[: thirds[0]]
    # With many ties the first of both orders are the same rows.
    high = descending[~np.isin(descending, low)][: thirds[2]]
    rest = ascending[~np.isin(ascending, np.concatenate([low, high]))]
    return np.concatenate([low, _middle(rest, values, thirds[1], middle), high])


def _middle(ascending: Indices, values: NDArray[np.float64], size: int, middle: Middle) -> Indices:
    """Return `size` of the rows (in ascending order of score) that lie in the middle."""
    if middle == "rank":
        start = (len(ascending) - size) // 2
        return ascending[start : start + size]
    if middle not in ("half", "median"):
        raise ValueError(f"middle must be half, median or rank, got '{middle}'")
    center = 0.5 if middle == "half" else float(np.median(values[ascending]))
    rows = np.sort(ascending)
    return rows[np.argsort(np.abs(values[rows] - center), kind="stable")][:size]


class Refiner(Protocol):
    """Splits a forget set into subsets, in the order in which they are unlearned."""

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return disjoint subsets whose union is `forget`."""
        ...


@dataclass(frozen=True, kw_only=True)
class ByScore:
    """Equal subsets from the lowest score to the highest: the paper's refinement.

    Attributes:
        into: the subsets' names, in the order of score and of unlearning.
    """

    name: ClassVar[str] = "by_score"
    into: tuple[str, ...] = ("low", "medium", "high")

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return `forget` in parts of ascending score; ties go to the lower row."""
        values = scores.values[forget]
        if not np.isfinite(values).all():
            raise ScoreError(f"{scores.name} is unknown for some of the forget set.")
        return _split(forget[np.argsort(values, kind="stable")], self.into)


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """Equal subsets at random: the control that tells refinement from mere repetition.

    Attributes:
        into: the subsets' names, in the order of unlearning.
        seed: root of the draw.
    """

    name: ClassVar[str] = "shuffle"
    into: tuple[str, ...] = ("shuffle1", "shuffle2", "shuffle3")
    seed: int = 0

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return `forget` in parts drawn at random; the scores play no part."""
        del scores
        order = (Seed(self.seed) / "shuffle").permutation(len(forget))
        return _split(forget[order], self.into)


REFINERS: Mapping[str, type[Refiner]] = {"by_score": ByScore, "shuffle": Shuffle}


def refine(
    forget: ArrayLike, scores: Scores, into: Sequence[str] = ("low", "medium", "high")
) -> Partition:
    """Return the forget set as subsets of ascending score, in the order of unlearning.

    Args:
        forget: rows of the training set.
        scores: of the training set, higher is harder.
        into: the subsets' names.
    """
    rows = np.unique(np.asarray(forget, dtype=np.int64))
    return ByScore(into=tuple(into))(rows, scores)


def _split(ordered: Indices, into: tuple[str, ...]) -> Partition:
    """Return consecutive parts of `ordered` under the given names, as equal as can be."""
    if not 0 < len(into) <= len(ordered):
        raise PlanError(f"{len(ordered)} examples cannot be split into {len(into)} subsets.")
    parts = np.array_split(ordered, len(into))
    return Partition(tuple(Subset(n, np.sort(p)) for n, p in zip(into, parts, strict=True)))
