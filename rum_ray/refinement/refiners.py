"""Refiners: split a forget set into homogeneous subsets, in the order of unlearning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from rum_ray.data.bundle import Indices
from rum_ray.data.rows import checked_rows
from rum_ray.errors import ConfigError, PlanError, ScoreError, did_you_mean
from rum_ray.partition import Partition, Subset
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed

INPUTS = ("distances", "labels")
"""Optional inputs of a refiner, besides the scores; its attribute `needs` lists the used ones."""


class Refiner(Protocol):
    """Splits a forget set into subsets, in the order of unlearning.

    A refiner may have an attribute `needs`, a tuple of names from `INPUTS`. These inputs are passed
    as keyword arguments: `distances`, the `Scores` [N] of distance to the centroid of D in
    embedding space, averaged over the originals; and `labels` [N] of D, int64.
    """

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return disjoint subsets whose union is `forget`."""
        ...


def needs(refiner: Refiner) -> tuple[str, ...]:
    """Return the inputs that a refiner needs, besides the scores.

    Raises:
        ConfigError: the refiner needs an input that does not exist.
    """
    names = tuple(getattr(refiner, "needs", ()))
    for name in names:
        if name not in INPUTS:
            raise ConfigError(
                f"refine: {type(refiner).__qualname__} needs '{name}', which is no input of "
                f"refiners. {did_you_mean(name, INPUTS)}"
            )
    return names


@dataclass(frozen=True, kw_only=True)
class ByScore:
    """Subsets of equal size, from the lowest score to the highest: the paper's refinement.

    Reference: Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS 2024,
    https://arxiv.org/abs/2406.01257.

    Attributes:
        into: names of the subsets, in ascending order of score, which is the order of unlearning.
    """

    name: ClassVar[str] = "by_score"
    into: tuple[str, ...] = ("low", "medium", "high")

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return subsets of `forget` in ascending order of score; ties go to the lower row."""
        return _split(_ascending(forget, scores), self.into)


@dataclass(frozen=True, kw_only=True)
class ByEntanglement:
    """Subsets of equal size, by ascending distance to the centroid of D in embedding space.

    Reference: Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS 2024,
    https://arxiv.org/abs/2406.01257.

    Attributes:
        into: names of the subsets, in ascending order of distance, which is the order of
            unlearning. The paper calls the farthest examples those of high entanglement.
    """

    name: ClassVar[str] = "by_entanglement"
    needs: ClassVar[tuple[str, ...]] = ("distances",)
    into: tuple[str, ...] = ("low", "medium", "high")

    def __call__(
        self, forget: Indices, scores: Scores, distances: Scores | None = None
    ) -> Partition:
        """Return subsets of `forget` in ascending order of distance; ties go to the lower row."""
        del scores
        return _split(_ascending(forget, _require(distances, self.name)), self.into)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Subsets of equal size by score, each split again by distance to the centroid of D.

    Attributes:
        scores: names of the parts, in ascending order of score.
        distances: names of the parts of each part, in ascending order of distance. A subset has
            both names, such as `low_near`.
    """

    name: ClassVar[str] = "grid"
    needs: ClassVar[tuple[str, ...]] = ("distances",)
    scores: tuple[str, ...] = ("low", "high")
    distances: tuple[str, ...] = ("near", "far")

    @property
    def into(self) -> tuple[str, ...]:
        """Names of the subsets, in the order of unlearning."""
        return tuple(f"{score}_{distance}" for score in self.scores for distance in self.distances)

    def __call__(
        self, forget: Indices, scores: Scores, distances: Scores | None = None
    ) -> Partition:
        """Return `forget` as the cells of the grid, in ascending order of score, then distance."""
        far = _require(distances, self.name)
        parts = _split(_ascending(forget, scores), self.scores)
        cells = [_split(_ascending(part.rows, far), self.distances) for part in parts]
        rows = [cell.rows for part in cells for cell in part]
        return Partition(tuple(map(Subset, self.into, rows)))


@dataclass(frozen=True)
class ByClass:
    """One subset per class of the forget set, named `class0` and so on."""

    name: ClassVar[str] = "by_class"
    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def __call__(
        self, forget: Indices, scores: Scores, labels: ArrayLike | None = None
    ) -> Partition:
        """Return one subset of `forget` per class, in ascending order of class."""
        del scores
        if labels is None:
            raise PlanError("by_class needs the labels of the training set; pass `labels`.")
        classes = np.asarray(labels)[forget]
        parts = [Subset(f"class{k}", forget[classes == k]) for k in np.unique(classes)]
        return Partition(tuple(parts))


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """Random subsets of equal size: the control that separates refinement from mere repetition.

    Reference: Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS 2024,
    https://arxiv.org/abs/2406.01257.

    Attributes:
        into: names of the subsets, in the order of unlearning.
        seed: root of the seed of the draw.
    """

    name: ClassVar[str] = "shuffle"
    into: tuple[str, ...] = ("shuffle1", "shuffle2", "shuffle3")
    seed: int = 0

    def __call__(self, forget: Indices, scores: Scores) -> Partition:
        """Return random subsets of `forget`, independent of the scores."""
        del scores
        order = (Seed(self.seed) / "shuffle").permutation(len(forget))
        return _split(forget[order], self.into)


def refine(
    forget: ArrayLike, scores: Scores, into: Sequence[str] = ("low", "medium", "high")
) -> Partition:
    """Return the forget set as subsets of equal size, from the lowest score to the highest.

    The order of the subsets is the order of unlearning; ties go to the lower row (Zhao et al.,
    NeurIPS 2024, section 5).

    Args:
        forget: rows of the training set, in any order.
        scores: [N] scores of the training set; higher is harder.
        into: names of the subsets.

    Raises:
        PlanError: a row is outside the training set, or there are fewer rows than subsets.
        ScoreError: a score is unknown.

    Example:
        >>> import rum_ray as rr
        >>> scores = rr.Scores([0.9, 0.1, 0.4, 0.7])
        >>> partition = rr.refine(forget=[0, 1, 3], scores=scores, into=("low", "medium", "high"))
        >>> [(subset.name, subset.rows.tolist()) for subset in partition]
        [('low', [1]), ('medium', [3]), ('high', [0])]
    """
    rows = np.unique(checked_rows(forget, len(scores), "rows to forget", PlanError))
    return ByScore(into=tuple(into))(rows, scores)


def _require(distances: Scores | None, name: str) -> Scores:
    """Return the distances; raise ScoreError if there are none."""
    if distances is None:
        raise ScoreError(f"{name} needs distances in embedding space; pass `distances`.")
    return distances


def _ascending(rows: Indices, scores: Scores) -> Indices:
    """Return the rows in ascending order of score; ties go to the lower row."""
    values = scores.values[rows]
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        raise ScoreError(
            f"{scores.name} is unknown for {unknown} of {len(rows)} examples of the forget set. "
            "Score with more models (score.models), or leave these examples out of the forget set."
        )
    return rows[np.argsort(values, kind="stable")]


def _split(ordered: Indices, into: tuple[str, ...]) -> Partition:
    """Return consecutive parts of `ordered` with these names; sizes differ by at most one."""
    if not 0 < len(into) <= len(ordered):
        raise PlanError(
            f"{len(ordered)} examples cannot be split into {len(into)} subsets; each subset needs "
            "at least one example."
        )
    parts = np.array_split(ordered, len(into))
    return Partition(tuple(Subset(n, np.sort(p)) for n, p in zip(into, parts, strict=True)))
