"""Held-out retraining: what the original unlearns by itself when it goes on with other data.

The original is trained on, with the recipe's first learning rate, on held-out data alone. Where
its predictions move far, they were held up by the example itself and not by others that are like
it. **Higher is harder to forget** (Carlini, Erlingsson and Papernot, "Distribution density, tails,
and outliers in machine learning", 2019, https://arxiv.org/abs/1910.13427; as a proxy: Zhao and
Triantafillou, "Scalability of memorization-based machine unlearning", 2024,
https://arxiv.org/abs/2410.16516). Their code learns T, unshuffled and not augmented; here it is V,
shuffled, and augmented if the recipe augments, since T must not be read before the report.
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
"""Probabilities are at least this in a logarithm."""


@dataclass(frozen=True)
class Heldout:
    """Symmetric KL divergence of the predictions before and after; in nats, higher is harder.

    Attributes:
        epochs: passes over the held-out data, at most.
        patience: passes without a new minimum of the training loss after which it stops.
    """

    name: ClassVar[str] = "heldout"

    epochs: int = 30
    patience: int = 4

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "patience")

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        """Train the original, go on with the held-out data, and compare on D.

        Raises:
            ScoreError: there are no held-out data.
            DivergedError: a loss or a weight is not finite.
        """
        data = bundle.heldout
        if not len(data):
            raise ScoreError(
                "heldout learns from validation data, and there are none. Set aside some, or "
                "choose another proxy."
            )
        original = recipe.fit(bundle.train, runtime)
        retrained = self.retrain(original, data, recipe, runtime / self.name)
        before, after = (predict(model, bundle.train) for model in (original, retrained))
        return Scores(symmetric_kl(before, after), name=self.name)

    def retrain(
        self, original: nn.Module, data: LabeledData, recipe: Recipe, runtime: Runtime
    ) -> nn.Module:
        """Return a model that went on from the original with other data, in eval mode."""
        model, losses = copy.deepcopy(original), _Losses()
        optimizer = recipe.optimizer(model)
        batches = Batches(data, recipe.batch_size, runtime.device, recipe.augment)
        state: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "losses": losses}
        for epoch in runtime.epochs(self.epochs, **state):
            losses.add(recipe.epoch(model, optimizer, batches, runtime.seed / epoch))
            if losses.stale == self.patience:
                break
        check_finite(model, self.name)
        return model.eval()

    def cost(self, bundle: DataBundle, recipe: Recipe) -> float:
        """Return the examples passed forward and backward, if it takes all its epochs."""
        learned = recipe.epochs * len(bundle.train) + self.epochs * len(bundle.heldout)
        return learned + 2 * len(bundle.train) / 3


def symmetric_kl(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Return (KL(p || q) + KL(q || p)) / 2 of each row of probabilities [N, K], in nats."""
    p, q = (np.maximum(np.asarray(rows, dtype=np.float64), SMALLEST) for rows in (p, q))
    divergence: NDArray[np.float64] = ((p - q) * (np.log(p) - np.log(q))).sum(axis=1) / 2
    return divergence


class _Losses:
    """The training losses so far."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def add(self, loss: float) -> None:
        """Add an epoch's."""
        self.values.append(loss)

    @property
    def stale(self) -> int:
        """Epochs since the minimum was new."""
        return len(self.values) - 1 - int(np.argmin(self.values))

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"values": list(self.values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state back."""
        self.values = list(state_dict["values"])
