"""Held-out retraining: how far predictions move when training continues on held-out data alone.

Training of the original continues on held-out data, with the recipe's first learning rate. A
prediction that moves far depended on the example itself, not on similar examples. **Higher is
harder to forget** (Carlini, Erlingsson and Papernot, "Distribution density, tails, and outliers in
machine learning", 2019, https://arxiv.org/abs/1910.13427; as a proxy: Zhao and Triantafillou,
"Scalability of memorization-based machine unlearning", 2024, https://arxiv.org/abs/2410.16516).
Their code trains on T, unshuffled and not augmented. Here the held-out data are V, because T must
not be read before the report. V is shuffled, and augmented if the recipe augments.
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import DataBundle, LabeledData
from rum_ray.errors import ScoreError
from rum_ray.scores.base import Scores
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe, check_positive
from rum_ray.training.runtime import Runtime, Stateful, check_finite

SMALLEST = 1e-10
"""Lower bound of probabilities inside a logarithm."""


@dataclass(frozen=True)
class Heldout:
    """Symmetric KL divergence of the predictions before and after, in nats; higher is harder.

    Reference: Carlini, Erlingsson and Papernot, "Distribution density, tails, and outliers in
    machine learning", 2019, https://arxiv.org/abs/1910.13427.

    Attributes:
        epochs: maximum number of passes over the held-out data.
        patience: number of passes without a new minimum of the training loss before it stops.
    """

    name: ClassVar[str] = "heldout"

    epochs: int = 30
    patience: int = 4

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "patience")

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        """Train the original, continue on held-out data, and compare predictions on D.

        Raises:
            ScoreError: the bundle has no held-out data.
            DivergedError: a loss or a weight is not finite.
        """
        data = bundle.heldout
        if not len(data):
            raise ScoreError(
                "heldout: this proxy trains on validation data, and there are none. Set aside "
                "validation data, or choose another proxy."
            )
        original = recipe.fit(bundle.train, runtime)
        retrained = self.retrain(original, data, recipe, runtime / self.name)
        before, after = (predict(model, bundle.train) for model in (original, retrained))
        return Scores(symmetric_kl(before, after), name=self.name)

    def retrain(
        self, original: nn.Module, data: LabeledData, recipe: Recipe, runtime: Runtime
    ) -> nn.Module:
        """Return the original after further training on `data`, in eval mode."""
        model, losses = copy.deepcopy(original), _LossHistory()
        optimizer = recipe.new_optimizer(model)
        batches = Batches(data, recipe.batch_size, runtime.device, recipe.augment)
        state: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "losses": losses}
        for epoch in runtime.epochs(self.epochs, **state):
            losses.add(recipe.epoch(model, optimizer, batches, runtime.seed / epoch))
            if losses.epochs_since_minimum == self.patience:
                break
        check_finite(model, self.name)
        return model.eval()

    def cost(self, bundle: DataBundle, recipe: Recipe) -> float:
        """Return the examples passed forward and backward if no epoch is saved by early stopping.

        A forward pass alone counts a third.
        """
        learned = recipe.epochs * len(bundle.train) + self.epochs * len(bundle.heldout)
        return learned + 2 * len(bundle.train) / 3


def symmetric_kl(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Return (KL(p || q) + KL(q || p)) / 2 of each row of probabilities [N, K], in nats."""
    p, q = (np.maximum(np.asarray(rows, dtype=np.float64), SMALLEST) for rows in (p, q))
    divergence: NDArray[np.float64] = ((p - q) * (np.log(p) - np.log(q))).sum(axis=1) / 2
    return divergence


class _LossHistory:
    """The training loss of each epoch so far; part of the state that is saved."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, loss: float) -> None:
        """Add the loss of an epoch."""
        self.values.append(loss)

    @property
    def epochs_since_minimum(self) -> int:
        """Number of epochs since the last new minimum."""
        return len(self.values) - 1 - int(np.argmin(self.values))

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save."""
        return {"values": list(self.values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self.values = list(state_dict["values"])
