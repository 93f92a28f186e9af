"""Difficulty scores, and the protocol of a proxy."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rum_ray.data.bundle import DataBundle
from rum_ray.errors import ScoreError
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Scores:
    """Difficulty of each example; **higher is harder to forget**, for proxies too.

    Attributes:
        values: [N] float64; NaN where the score is unknown.
        standard_errors: [N] float64; NaN where the error is unknown, which is the default.
        name: name of the score in messages and tables.

    Raises:
        ScoreError: the values or errors are not vectors of the same length.

    Example:
        >>> import rum_ray as rr
        >>> scores = rr.Scores([0.9, 0.1, 0.4], name="mine")
        >>> scores.values
        array([0.9, 0.1, 0.4])
        >>> scores.standard_errors
        array([nan, nan, nan])
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64] = None  # type: ignore[assignment]
    name: str = "score"

    def __post_init__(self) -> None:
        values = _vector(self.values, "scores")
        errors = self.standard_errors
        errors = np.full(len(values), np.nan) if errors is None else _vector(errors, "errors")
        if len(values) != len(errors):
            raise ScoreError(
                f"{self.name}: there are {len(values)} scores and {len(errors)} standard errors. "
                "Give one standard error per score, or none at all."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "standard_errors", errors)

    def __len__(self) -> int:
        return len(self.values)


class Proxy(Protocol):
    """A cheap substitute for memorization.

    A proxy that costs more than one training run has a method `cost(bundle, recipe)`. It returns
    the number of examples passed forward and backward; a forward pass alone counts a third.
    """

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        """Return the scores [N] of `bundle.train`; higher is harder."""
        ...


def _vector(values: ArrayLike, label: str) -> NDArray[np.float64]:
    """Return `values` as a float64 vector."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ScoreError(f"{label} must be one number per example; got shape {vector.shape}.")
    return vector
