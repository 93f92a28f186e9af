"""Memorization and influence, estimated by leaving examples out.

mem(A, D, i) = P[model trained on D is right about i] - P[model trained on D without i is right]

(Feldman and Zhang, "What neural networks memorize and why", NeurIPS 2020,
https://arxiv.org/abs/2008.03703). Many models are trained on random shares of D; each counts for
an example either as one that saw it or as one that did not. The counts are integers that add, so
the result is the same whichever worker trained which model, and in whatever order they came.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed


@dataclass(frozen=True, eq=False)
class InOutCounts:
    """Per example: by how many models it was seen and not seen, and how many were right.

    Attributes:
        seen: [N] models that trained on the example.
        seen_right: [N] those of them that predict its label.
        unseen: [N] models that did not.
        unseen_right: [N] those of them that predict its label.
    """

    seen: NDArray[np.int64]
    seen_right: NDArray[np.int64]
    unseen: NDArray[np.int64]
    unseen_right: NDArray[np.int64]

    @classmethod
    def of(cls, included: ArrayLike, correct: ArrayLike) -> "InOutCounts":
        """Count over models.

        Args:
            included: [M, N] bool, model m trained on example n.
            correct: [M, N] bool, model m predicts the label of example n.
        """
        included, correct = np.asarray(included, dtype=bool), np.asarray(correct, dtype=bool)
        if included.shape != correct.shape or included.ndim != 2:
            raise ValueError(
                "included and correct must both be [models, examples]; "
                f"their shapes are {included.shape} and {correct.shape}"
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
        """Return memorization in [-1, 1], higher is harder; NaN if never seen or never unseen."""
        with np.errstate(invalid="ignore", divide="ignore"):
            inside, outside = self.seen_right / self.seen, self.unseen_right / self.unseen
            variance = inside * (1 - inside) / self.seen + outside * (1 - outside) / self.unseen
        return Scores(inside - outside, np.sqrt(variance), "memorization")


def _count(bits: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of [M, N] are true by column; bytes add many times as fast as int64."""
    blocks = (bits[start : start + 255] for start in range(0, len(bits), 255))
    sums = [block.sum(axis=0, dtype=np.uint8) for block in blocks]
    return np.sum(sums, axis=0, dtype=np.int64) if sums else np.zeros(bits.shape[1], np.int64)


def memorization(included: ArrayLike, correct: ArrayLike) -> Scores:
    """Return the leave-k-out estimate of memorization, with its standard errors.

    Args:
        included: [M, N] bool, model m trained on example n.
        correct: [M, N] bool, model m predicts the label of example n.

    Returns:
        Scores [N] in [-1, 1], higher is harder; NaN where an example was never in or never out.
    """
    return InOutCounts.of(included, correct).scores()


def soft_memorization(included: ArrayLike, confidences: ArrayLike) -> Scores:
    """Return memorization of probabilities instead of right answers, which fewer models settle.

    Args:
        included: [M, N] bool, model m trained on example n.
        confidences: [M, N] in [0, 1], the probability that model m gives the label of example n.

    Returns:
        Scores [N] in [-1, 1], higher is harder: the mean over the models that saw the example less
        that over those that did not; NaN where an example was never in or never out.

    Raises:
        ValueError: the shapes are not these.
    """
    included, confidences = np.asarray(included, dtype=bool), np.asarray(confidences)
    if included.shape != confidences.shape:
        raise ValueError(
            "included and confidences must both be [models, examples]; "
            f"their shapes are {included.shape} and {confidences.shape}"
        )
    counts = InOutCounts.of(included, np.zeros_like(included))
    inside, outside = (
        confidences.sum(axis=0, dtype=np.float64, where=models) for models in (included, ~included)
    )
    with np.errstate(invalid="ignore"):
        values = inside / counts.seen - outside / counts.unseen
    return Scores(values, name="soft_memorization")


def influence(included: ArrayLike, correct_test: ArrayLike) -> NDArray[np.float32]:
    """Return how much seeing each example helps each test example.

    Args:
        included: [M, N] bool, model m trained on example n.
        correct_test: [M, T] bool, model m predicts the label of test example t.

    Returns:
        [T, N] float32 in [-1, 1]: P[right about t | n was in] - P[right about t | n was out]; NaN
        where n was never in or never out.

    Raises:
        ValueError: the shapes are not these.
    """
    inside = np.asarray(included, dtype=np.float32)
    right = np.asarray(correct_test, dtype=np.float32)
    if inside.ndim != 2 or right.ndim != 2 or len(inside) != len(right):
        raise ValueError(
            "included must be [models, examples] and correct_test [models, test examples]; "
            f"their shapes are {inside.shape} and {right.shape}"
        )
    seen = inside.sum(axis=0)
    both = right.T @ inside
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float32] = both / seen - (right.sum(axis=0)[:, None] - both) / (
            len(inside) - seen
        )
    return result


def included_rows(total: int, fraction: float, seed: Seed) -> Indices:
    """Return the rows that the model of `seed` is trained on: floor(fraction * total), sorted."""
    return (seed / "included").choice(total, int(fraction * total))
