"""Refiners: a forget set as alike subsets, in the order in which they are unlearned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from rum_ray.data.bundle import Indices
from rum_ray.data.rows import checked_rows
from rum_ray.errors import ConfigError, PlanError, ScoreError, did_you_mean
from rum_ray.rum import Partition, Subset
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed

KNOWN = ("distances", "labels")
"""What a refiner can be given beside the scores, if its `needs` names it."""


class Refiner(Protocol):
    """Splits a forget set into subsets, in the order in which they are unlearned.

    One that has an attribute `needs`, a tuple of names out of `KNOWN`, also gets these of D, as
    keywords: `distances`, the `Scores` [N] of distance to D's centroid in embedding space, mean
    over the originals; and `labels` [N], int64.
    """

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return disjoint subsets whose union is `forget`."""
        ...


def needs(refiner: Refiner) -> tuple[str, ...]:
    """Return what a refiner wants to be given beside the scores.

    Raises:
        ConfigError: it wants something that is not there.
    """
    wanted = tuple(getattr(refiner, "needs", ()))
    for name in wanted:
        if name not in KNOWN:
            raise ConfigError(
                f"refine: {type(refiner).__qualname__} needs '{name}', which is not known of the "
                f"data. {did_you_mean(name, KNOWN)}"
            )
    return wanted


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
        return _split(_ascending(forget, scores), self.into)


@dataclass(frozen=True, kw_only=True)
class ByEntanglement:
    """Equal subsets from the nearest to the centroid of D's embeddings to the farthest.

    Attributes:
        into: the subsets' names, in the order of distance and of unlearning; the paper calls the
            farthest ones those of high entanglement.
    """

    name: ClassVar[str] = "by_entanglement"
    needs: ClassVar[tuple[str, ...]] = ("distances",)
    into: tuple[str, ...] = ("low", "medium", "high")

    def __call__(
        self, forget: Indices, scores: Scores, distances: Scores | None = None
    ) -> Partition:
        """Return `forget` in parts of ascending distance; ties go to the lower row."""
        del scores
        return _split(_ascending(forget, _given(distances, self.name)), self.into)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Equal subsets by score, and each of them again by distance to the centroid of D.

    Attributes:
        scores: names of the parts by ascending score.
        distances: names of the parts of each, by ascending distance; a subset is `low_near`.
    """

    name: ClassVar[str] = "grid"
    needs: ClassVar[tuple[str, ...]] = ("distances",)
    scores: tuple[str, ...] = ("low", "high")
    distances: tuple[str, ...] = ("near", "far")

    @property
    def into(self) -> tuple[str, ...]:
        """The subsets' names, in the order of unlearning."""
        return tuple(f"{score}_{distance}" for score in self.scores for distance in self.distances)

    def __call__(
        self, forget: Indices, scores: Scores, distances: Scores | None = None
    ) -> Partition:
        """Return `forget` as the cells of the grid, row by row of ascending score."""
        far = _given(distances, self.name)
        rows = _split(_ascending(forget, scores), self.scores)
        cells = [_split(_ascending(row.rows, far), self.distances) for row in rows]
        found = [cell.rows for parts in cells for cell in parts]
        return Partition(tuple(map(Subset, self.into, found)))


@dataclass(frozen=True)
class ByClass:
    """A subset for each class that the forget set has, `class0` and so on."""

    name: ClassVar[str] = "by_class"
    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def __call__(
        self, forget: Indices, scores: Scores, labels: ArrayLike | None = None
    ) -> Partition:
        """Return `forget` by class, in the order of the classes."""
        del scores
        if labels is None:
            raise PlanError("by_class needs the labels of the training set; none were given.")
        mine = np.asarray(labels)[forget]
        parts = [Subset(f"class{label}", forget[mine == label]) for label in np.unique(mine)]
        return Partition(tuple(parts))


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


def refine(
    forget: ArrayLike, scores: Scores, into: Sequence[str] = ("low", "medium", "high")
) -> Partition:
    """Return the forget set as subsets of ascending score, in the order of unlearning.

    Args:
        forget: rows of the training set.
        scores: of the training set, higher is harder.
        into: the subsets' names.

    Raises:
        PlanError: there are no such rows, or fewer than subsets.
        ScoreError: a score is unknown.
    """
    rows = np.unique(checked_rows(forget, len(scores), "rows to forget", PlanError))
    return ByScore(into=tuple(into))(rows, scores)


def _given(distances: Scores | None, name: str) -> Scores:
    """Return the distances, or raise."""
    if distances is None:
        raise ScoreError(f"{name} needs distances in embedding space; none were given.")
    return distances


def _ascending(rows: Indices, scores: Scores) -> Indices:
    """Return the rows by ascending score; ties go to the lower row."""
    values = scores.values[rows]
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        raise ScoreError(
            f"{scores.name} is unknown for {unknown} of the forget set's {len(rows)} examples. "
            "Score with more models, or do not list those examples."
        )
    return rows[np.argsort(values, kind="stable")]


def _split(ordered: Indices, into: tuple[str, ...]) -> Partition:
    """Return consecutive parts of `ordered` under the given names, as equal as can be."""
    if not 0 < len(into) <= len(ordered):
        raise PlanError(f"{len(ordered)} examples cannot be split into {len(into)} subsets.")
    parts = np.array_split(ordered, len(into))
    return Partition(tuple(Subset(n, np.sort(p)) for n, p in zip(into, parts, strict=True)))
