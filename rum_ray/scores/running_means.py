"""Means over the visits of each example, kept while a model is trained."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class RunningMeans:
    """GroupSums and visits by example; a crash loses neither, since they are part of the state."""

    def __init__(self, kinds: int, examples: int) -> None:
        """Start with nothing seen.

        Args:
            kinds: numbers an example at each visit.
            examples: number of training examples.
        """
        self.sums = torch.zeros(kinds, examples, dtype=torch.float64)
        self.visits = torch.zeros(examples, dtype=torch.int64)

    def add(self, rows: Tensor, values: Tensor) -> None:
        """Add the values [kinds, B] of rows [B]; a row may be there several times."""
        rows = rows.cpu()
        self.sums.scatter_add_(1, rows.expand(len(values), -1), values.double().cpu())
        self.visits += rows.bincount(minlength=len(self.visits))

    def means(self) -> NDArray[Any]:
        """Return the means [kinds, N], float64; NaN where an example was never visited."""
        means: NDArray[Any] = (self.sums / self.visits).numpy()
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the state, so that an interrupted training goes on counting."""
        return {"sums": self.sums, "visits": self.visits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state back."""
        self.sums, self.visits = state_dict["sums"].cpu(), state_dict["visits"].cpu()
