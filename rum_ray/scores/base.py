"""What a score of difficulty is."""

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
    """How hard each example is to forget; **higher is harder**, for proxies too.

    Attributes:
        values: [N] float64; NaN where the score is unknown.
        standard_errors: [N] float64; NaN where they are unknown.
        name: what the score is called.
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
                f"{self.name}: {len(values)} scores and {len(errors)} standard errors differ."
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "standard_errors", errors)

    def __len__(self) -> int:
        return len(self.values)


class Proxy(Protocol):
    """A cheap stand-in for memorization; one that costs more than a training has a method `cost`.

    `cost(bundle, recipe)` returns the examples passed forward and backward; forward-only ones
    count a third.
    """

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        """Return the scores of `bundle.train`, higher is harder."""
        ...


def _vector(values: ArrayLike, what: str) -> NDArray[np.float64]:
    """Return `values` as a float64 vector."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ScoreError(f"{what} must be one number an example, got shape {vector.shape}.")
    return vector
