"""Memorization and influence: leave-k-out estimates from a pool of models.

mem(A, D, i) = P[model trained on D is right about i] - P[model trained on D without i is right]

(Feldman and Zhang, "What neural networks memorize and why", NeurIPS 2020,
https://arxiv.org/abs/2008.03703). Each model of the pool is trained on a random subset of D. For
each example, a model counts either as trained with it or as trained without it. The counts are
integers that add, so the result depends neither on the order of the models nor on the workers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed


@dataclass(frozen=True, eq=False)
class InOutCounts:
    """Counts per example: models trained with and without it, and how many of them are right.

    Attributes:
        seen: [N] models trained on the example.
        seen_right: [N] such models that predict its label.
        unseen: [N] models trained without the example.
        unseen_right: [N] such models that predict its label.
    """

    seen: NDArray[np.int64]
    seen_right: NDArray[np.int64]
    unseen: NDArray[np.int64]
    unseen_right: NDArray[np.int64]

    @classmethod
    def of(cls, included: ArrayLike, correct: ArrayLike) -> "InOutCounts":
        """Return the counts over models.

        Args:
            included: [M, N] bool, model m is trained on example n.
            correct: [M, N] bool, model m predicts the label of example n.

        Raises:
            ValueError: the arrays are not both [M, N].
        """
        included, correct = np.asarray(included, dtype=bool), np.asarray(correct, dtype=bool)
        if included.shape != correct.shape or included.ndim != 2:
            raise ValueError(
                "included and correct must both have shape [models, examples]; "
                f"got {included.shape} and {correct.shape}"
            )
        seen, right, both = map(_count, (included, correct, included & correct))
        return cls(seen, both, len(included) - seen, right - both)

    def __add__(self, other: "InOutCounts") -> "InOutCounts":
        return InOutCounts(
            self.seen + other.seen,
            self.seen_right + other.seen_right,
            self.unseen + other.unseen,
            self.unseen_right + other.unseen_right,
        )

    def scores(self) -> Scores:
        """Return memorization [N] in [-1, 1], higher is harder; NaN where a count is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            inside, outside = self.seen_right / self.seen, self.unseen_right / self.unseen
            variance = inside * (1 - inside) / self.seen + outside * (1 - outside) / self.unseen
        return Scores(inside - outside, np.sqrt(variance), "memorization")


@dataclass(frozen=True, eq=False)
class PoolBits:
    """The bits of M models on N examples, eight examples to a byte.

    Attributes:
        included: [M, ceil(N / 8)] uint8, the examples that each model is trained on.
        correct: [M, ceil(N / 8)] uint8, the examples whose label it predicts.
        examples: N.
    """

    included: NDArray[np.uint8]
    correct: NDArray[np.uint8]
    examples: int

    @classmethod
    def of(cls, included: ArrayLike, correct: ArrayLike) -> "PoolBits":
        """Return the packed form of included and correct, both [M, N] bool."""
        included, correct = (np.asarray(bits, dtype=bool) for bits in (included, correct))
        packed = np.packbits(included, axis=1), np.packbits(correct, axis=1)
        return cls(*packed, examples=included.shape[1])

    def __len__(self) -> int:
        return len(self.included)

    def arrays(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return included and correct, both [M, N] bool."""
        return self._unpack(slice(None), slice(None), self.examples)

    def blocks(self, models: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield included and correct of so many models at a time, both [models, N] bool."""
        for start in range(0, len(self), models):
            yield self._unpack(slice(start, start + models), slice(None), self.examples)

    def columns(self, size: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield included and correct of 8 * size examples at a time, of all models."""
        for start in range(0, self.included.shape[1], size):
            count = min(8 * size, self.examples - 8 * start)
            yield self._unpack(slice(None), slice(start, start + size), count)

    def _unpack(
        self, models: slice, places: slice, count: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return a part of the bits as bool arrays."""
        included, correct = (
            np.unpackbits(bits[models, places], axis=1, count=count).view(bool)
            for bits in (self.included, self.correct)
        )
        return included, correct

    def counts(self) -> InOutCounts:
        """Return the counts over the models; there is at least one."""
        return reduce(add, (InOutCounts.of(*block) for block in self.blocks(MODELS_AT_ONCE)))


MODELS_AT_ONCE = 255
"""Number of models whose bits are counted at a time; a sum of so many bits fits a byte."""


class PoolCounter:
    """Counts models one by one; its memory does not grow with their number."""

    def __init__(self, examples: int, groups: int) -> None:
        """Start without models.

        Args:
            examples: N.
            groups: number of groups of models that are counted apart.
        """
        nothing = np.zeros((0, examples), dtype=bool)
        self._examples = examples
        self._counts = [InOutCounts.of(nothing, nothing)] * groups
        self._waiting: list[list[tuple[NDArray[np.uint8], ...]]] = [[] for _ in range(groups)]

    def add(self, group: int, included: NDArray[np.uint8], correct: NDArray[np.uint8]) -> None:
        """Add a model.

        Args:
            group: of the model.
            included: [ceil(N / 8)] uint8, packed, the examples that the model is trained on.
            correct: [ceil(N / 8)] uint8, packed, the examples whose label it predicts.
        """
        self._waiting[group].append((included, correct))
        if len(self._waiting[group]) == MODELS_AT_ONCE:
            self._count(group)

    def counts(self) -> tuple[InOutCounts, ...]:
        """Return the counts of each group."""
        for group in range(len(self._counts)):
            self._count(group)
        return tuple(self._counts)

    def _count(self, group: int) -> None:
        """Add the waiting models of a group to its counts."""
        if self._waiting[group]:
            included, correct = map(np.stack, zip(*self._waiting[group], strict=True))
            self._counts[group] += PoolBits(included, correct, self._examples).counts()
            self._waiting[group].clear()


def _count(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of true values per column of [M, N]; summing bytes is fast."""
    starts = range(0, len(bits), MODELS_AT_ONCE)
    blocks = (bits[start : start + MODELS_AT_ONCE] for start in starts)
    sums = [block.sum(axis=0, dtype=np.uint8) for block in blocks]
    return np.sum(sums, axis=0, dtype=np.int64) if sums else np.zeros(bits.shape[1], np.int64)


def memorization(included: ArrayLike, correct: ArrayLike) -> Scores:
    """Return the leave-k-out estimate of memorization, with its standard errors.

    Args:
        included: [M, N] bool, model m is trained on example n.
        correct: [M, N] bool, model m predicts the label of example n.

    Returns:
        Scores [N] in [-1, 1], higher is harder. An example that is in the training set of every
        model, or of none, has the score NaN.

    Raises:
        ValueError: the arrays are not both [M, N].

    Example:
        >>> import rum_ray as rr
        >>> included = [[1, 0], [1, 1], [0, 1], [0, 0]]
        >>> correct = [[1, 1], [1, 1], [0, 1], [0, 0]]
        >>> rr.memorization(included, correct).values
        array([1. , 0.5])
    """
    return InOutCounts.of(included, correct).scores()


class SoftMemorization:
    """Memorization from label probabilities in place of hits, which needs fewer models.

    Models are added one by one; the memory does not grow with their number.
    """

    def __init__(self, examples: int) -> None:
        """Start without models, for this number of examples N."""
        self._sums, self._models = np.zeros((2, 2, examples))

    def add(self, included: ArrayLike, confidences: ArrayLike) -> None:
        """Add a model.

        Args:
            included: [N] bool, the examples that the model is trained on.
            confidences: [N] in [0, 1], its probabilities of the labels.

        Raises:
            ValueError: the arrays are not both [N].
        """
        member, p = np.asarray(included, dtype=bool), np.asarray(confidences, dtype=np.float64)
        if not member.shape == p.shape == self._sums.shape[1:]:
            raise ValueError(
                f"included and confidences of a model must have shape {self._sums.shape[1:]}; "
                f"got {member.shape} and {p.shape}"
            )
        for side, counted in enumerate((~member, member)):
            self._sums[side] += np.where(counted, p, 0)
            self._models[side] += counted

    def scores(self) -> Scores:
        """Return the scores [N] in [-1, 1], higher is harder; NaN where a side has no models.

        A score is the mean over the models trained with the example minus the mean over the models
        trained without it.
        """
        with np.errstate(invalid="ignore"):
            outside, inside = self._sums / self._models
        return Scores(inside - outside, name="soft_memorization")


def influence(included: ArrayLike, correct_test: ArrayLike) -> NDArray[np.float32]:
    """Return the influence of each training example on each test example.

    Args:
        included: [M, N] bool, model m is trained on example n.
        correct_test: [M, T] bool, model m predicts the label of test example t.

    Returns:
        [T, N] float32 in [-1, 1]: P[right about t | trained with n] - P[right about t | trained
        without n]. NaN where n is in the training set of every model, or of none.

    Raises:
        ValueError: the arrays are not [M, N] and [M, T].

    Example:
        >>> import rum_ray as rr
        >>> included = [[1, 0], [1, 1], [0, 1], [0, 0]]
        >>> rr.influence(included, correct_test=[[1], [1], [0], [0]])
        array([[1., 0.]], dtype=float32)
    """
    inside = np.asarray(included, dtype=np.float32)
    right = np.asarray(correct_test, dtype=np.float32)
    if inside.ndim != 2 or right.ndim != 2 or len(inside) != len(right):
        raise ValueError(
            "included must have shape [models, examples] and correct_test [models, test examples]; "
            f"got {inside.shape} and {right.shape}"
        )
    seen = inside.sum(axis=0)
    both = right.T @ inside
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float32] = both / seen - (right.sum(axis=0)[:, None] - both) / (
            len(inside) - seen
        )
    return result


def included_rows(total: int, fraction: float, seed: Seed) -> Indices:
    """Return the training rows of the model of `seed`: floor(fraction * total) of them, sorted."""
    return (seed / "included").choice(total, int(fraction * total))
