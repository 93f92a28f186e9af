"""Memorization and influence: leave-k-out estimates from a pool of models.

mem(A, D, i) = P[model trained on D is right about i] - P[model trained on D without i is right]

(Feldman and Zhang, "What neural networks memorize and why", NeurIPS 2020,
https://arxiv.org/abs/2008.03703). Each model of the pool is trained on a random subset of D. For
each example, a model counts either as trained with it or as trained without it. The counts are
integers that add, so the result depends neither on the order of the models nor on the workers.
"""

from dataclasses import dataclass

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


def _count(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of true values per column of [M, N]; summing bytes is fast."""
    blocks = (bits[start : start + 255] for start in range(0, len(bits), 255))
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


def soft_memorization(included: ArrayLike, confidences: ArrayLike) -> Scores:
    """Return memorization from label probabilities in place of hits, which needs fewer models.

    Args:
        included: [M, N] bool, model m is trained on example n.
        confidences: [M, N] in [0, 1], probability of the label of example n under model m.

    Returns:
        Scores [N] in [-1, 1], higher is harder: the mean over the models trained with the example
        minus the mean over the models trained without it. NaN where either set of models is empty.

    Raises:
        ValueError: the arrays are not both [M, N].
    """
    included, confidences = np.asarray(included, dtype=bool), np.asarray(confidences)
    if included.shape != confidences.shape:
        raise ValueError(
            "included and confidences must both have shape [models, examples]; "
            f"got {included.shape} and {confidences.shape}"
        )
    counts = InOutCounts.of(included, np.zeros_like(included))
    inside, outside = (
        confidences.sum(axis=0, dtype=np.float64, where=models) for models in (included, ~included)
    )
    with np.errstate(invalid="ignore"):
        values = inside / counts.seen - outside / counts.unseen
    return Scores(values, name="soft_memorization")


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
