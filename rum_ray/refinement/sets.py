"""Forget sets: by score, by entanglement, at random, or of one class."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import Indices
from rum_ray.errors import PlanError, ScoreError
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed

Pick = Literal["low", "medium", "high", "spread", "random"]
Middle = Literal["half", "median", "rank"]


def forget_set(
    scores: Scores,
    size: int | None = None,
    pick: Pick = "spread",
    middle: Middle = "half",
    missing: Literal["raise", "drop"] = "raise",
    *,
    groups: int | None = None,
    label: int | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
) -> Indices:
    """Return the rows of the forget set, int64 and sorted, by score; ties go to the lower row.

    Args:
        scores: [N], higher is harder; or distances in embedding space, with `groups`.
        size: number of examples; None is a whole class.
        pick: the lowest, the middle or the highest scores; "spread", a third of each (a remainder
            goes to low, then medium); or "random", independent of the scores.
        middle: rule for "medium": nearest to one "half", nearest to the "median", or middle "rank".
        missing: "raise" if a score is unknown, or "drop" these examples.
        groups: number of equal groups by ascending score. Take the first examples of the groups for
            low, medium and high: groups 3, 12 and 14 of 15 (from 0; the paper's), or in proportion.
        label: choose only among the examples of this class.
        labels: [N] classes; needed with `label`.
        seed: root of the seed of a random draw.

    Raises:
        ScoreError: a score is unknown.
        PlanError: there are too few examples.

    Example:
        >>> import rum_ray as rr
        >>> scores = rr.Scores([0.9, 0.1, 0.5, 0.7, 0.3])
        >>> rr.forget_set(scores, size=2, pick="high")
        array([0, 3])
        >>> rr.forget_set(scores, label=1, labels=[0, 1, 1, 0, 0])
        array([1, 2])
    """
    if size is None and label is None:
        raise PlanError("a forget set needs its size, or the label of a whole class; give one.")
    rows = _candidates(len(scores), label, labels)
    if size is None:
        size, pick = len(rows), "random"
    if pick != "random":
        rows = _known(scores, rows, missing)
    _check_size(size, len(rows), len(rows) if label is None else len(scores))
    if pick == "random":
        return rows[(Seed(seed) / "forget").choice(len(rows), size)]
    return np.sort(_picked(rows, scores.values, size, pick, middle, groups))


def _candidates(total: int, label: int | None, labels: ArrayLike | None) -> Indices:
    """Return the rows to choose from: all, or those of one class."""
    if label is None:
        return np.arange(total)
    if labels is None or len(np.asarray(labels)) != total:
        raise ValueError(f"label={label} needs labels, one per example ({total} examples)")
    rows = np.flatnonzero(np.asarray(labels) == label)
    if not len(rows):
        raise PlanError(f"no example has class {label}. Give the label of a class in the data.")
    return rows


def _check_size(size: int, candidates: int, total: int) -> None:
    """Raise PlanError unless there are enough candidates, and an example of `total` is retained."""
    most = min(candidates, total - 1)
    if not 0 < size <= most:
        raise PlanError(
            f"a forget set of {size} cannot be chosen from {candidates} examples; "
            f"its size must be in 1 .. {most}."
        )


def _known(scores: Scores, rows: Indices, missing: str) -> Indices:
    """Return the rows with a known score."""
    if missing not in ("raise", "drop"):
        raise ValueError(f"missing must be raise or drop, got '{missing}'")
    known = rows[np.isfinite(scores.values[rows])]
    if len(known) < len(rows) and missing == "raise":
        raise ScoreError(
            f"{scores.name} is unknown for {len(rows) - len(known)} of {len(rows)} examples. "
            "Raise score.models, complete the file of scores, or drop these examples in Python "
            "with missing='drop'."
        )
    return known


def _picked(
    rows: Indices,
    values: NDArray[np.float64],
    size: int,
    pick: Pick,
    middle: Middle,
    groups: int | None,
) -> Indices:
    """Return `size` of the rows, chosen by score."""
    ascending = rows[np.argsort(values[rows], kind="stable")]
    descending = rows[np.argsort(-values[rows], kind="stable")]
    if pick not in ("low", "medium", "high", "spread"):
        raise ValueError(f"pick must be low, medium, high, spread or random, got '{pick}'")
    thirds = [len(part) for part in np.array_split(np.arange(size), 3)]
    if groups is not None:
        spread = zip(("low", "medium", "high"), thirds, strict=True)
        sizes = dict(spread) if pick == "spread" else {pick: size}
        return np.concatenate([_of_group(ascending, n, p, groups) for p, n in sizes.items()])
    if pick == "low":
        return ascending[:size]
    if pick == "high":
        return descending[:size]
    if pick == "medium":
        return _middle(ascending, values, size, middle)
    low = ascending[: thirds[0]]
    # With many ties, both orders begin with the same rows.
    high = descending[~np.isin(descending, low)][: thirds[2]]
    rest = ascending[~np.isin(ascending, np.concatenate([low, high]))]
    return np.concatenate([low, _middle(rest, values, thirds[1], middle), high])


def _of_group(ascending: Indices, size: int, pick: str, groups: int) -> Indices:
    """Return the first `size` rows of the group for this pick."""
    if groups < 3:
        raise ValueError(f"groups must be at least 3, got {groups}")
    each = len(ascending) // groups
    if size > each:
        raise PlanError(
            f"{size} examples cannot be taken from the group '{pick}': {len(ascending)} examples "
            f"in {groups} groups are {each} per group. Forget fewer examples, or use fewer groups."
        )
    numbers = {"low": groups // 5, "medium": min(4 * groups // 5, groups - 2), "high": groups - 1}
    first = numbers[pick] * each
    return ascending[first : first + size]


def _middle(ascending: Indices, values: NDArray[np.float64], size: int, middle: Middle) -> Indices:
    """Return the `size` middle rows of `ascending`, which is in ascending order of score."""
    if middle == "rank":
        start = (len(ascending) - size) // 2
        return ascending[start : start + size]
    if middle not in ("half", "median"):
        raise ValueError(f"middle must be half, median or rank, got '{middle}'")
    center = 0.5 if middle == "half" else float(np.median(values[ascending]))
    rows = np.sort(ascending)
    return rows[np.argsort(np.abs(values[rows] - center), kind="stable")][:size]
