"""Running means per example, accumulated during training."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class RunningMeans:
    """Sums and numbers of visits per example; they are part of the state, so a crash loses none."""

    def __init__(self, kinds: int, examples: int) -> None:
        """Start empty.

        Args:
            kinds: number of values per visit.
            examples: number of training examples.
        """
        self.sums = torch.zeros(kinds, examples, dtype=torch.float64)
        self.visits = torch.zeros(examples, dtype=torch.int64)

    def add(self, rows: Tensor, values: Tensor) -> None:
        """Add the values [kinds, B] of rows [B]; a row may occur several times."""
        rows = rows.cpu()
        self.sums.scatter_add_(1, rows.expand(len(values), -1), values.double().cpu())
        self.visits += rows.bincount(minlength=len(self.visits))

    def means(self) -> NDArray[Any]:
        """Return the means [kinds, N], float64; NaN for an example without a visit."""
        means: NDArray[Any] = (self.sums / self.visits).numpy()
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save, so that an interrupted training run can resume."""
        return {"sums": self.sums, "visits": self.visits}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self.sums, self.visits = state_dict["sums"].cpu(), state_dict["visits"].cpu()
