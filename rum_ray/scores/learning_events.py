"""Proxies from the training itself: how confidently an example was learned, over all epochs.

Each is a mean over epochs of what the *training* forward pass says about an example: in train
mode, augmented if the recipe augments, under the weights before that step. It costs no pass of its
own. All are oriented so that **higher is harder to forget** (Zhao and Triantafillou, "Scalability
of memorization-based machine unlearning", 2024, https://arxiv.org/abs/2410.16516; the loss:
Ravikumar, Soufleri, Hashemi and Roy, "Towards memorization estimation: fast, formal and free", ICML
2025, https://openreview.net/forum?id=KZlQEoEtiu).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rum_ray.data.bundle import DataBundle
from rum_ray.scores.base import Scores
from rum_ray.scores.running_means import RunningMeans
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import Runtime

EVENTS = ("confidence", "max_confidence", "entropy", "binary_accuracy", "cumulative_loss")


class LearningEvents(RunningMeans):
    """Means over epochs of each example's events; give it to `Recipe.fit` as `observe`.

    Batches wait until they are as many examples as the set has, so that training never stops to
    read something back.
    """

    def __init__(self, examples: int) -> None:
        """Start with nothing seen of a number of training examples."""
        super().__init__(len(EVENTS), examples)
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self.missing = examples

    def __call__(self, rows: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take a batch: rows [B], logits [B, K], labels [B]."""
        self.waiting.append((rows, logits, labels))
        self.missing -= len(rows)
        if self.missing <= 0:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Add the events of the batches that wait."""
        if not self.waiting:
            return
        rows, logits, labels = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.missing = [], len(self.visits)
        log_p = F.log_softmax(logits, dim=1)
        p = log_p.exp()
        loss = -log_p.gather(1, labels[:, None]).squeeze(1)
        events = torch.stack(
            [
                1 - p.gather(1, labels[:, None]).squeeze(1),
                1 - p.amax(dim=1),
                -(p * log_p.clamp_min(-100.0)).sum(dim=1),
                (logits.argmax(dim=1) != labels).float(),
                loss,
            ]
        )
        self.add(rows, events)

    def means(self) -> NDArray[Any]:
        """Return the means [kinds, N], float64; NaN where an example was never visited."""
        self._add_waiting()
        return super().means()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, so that an interrupted training goes on counting."""
        self._add_waiting()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state back; what came after it is forgotten."""
        self.waiting, self.missing = [], len(self.visits)
        super().load_state_dict(state_dict)

    def scores(self) -> Mapping[str, Scores]:
        """Return the mean of each event over the epochs; higher is harder."""
        return {name: Scores(m, name=name) for name, m in zip(EVENTS, self.means(), strict=True)}


@dataclass(frozen=True)
class _LearningEvent:
    """Train once and return one of the events."""

    name: ClassVar[str]

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        events = LearningEvents(len(bundle.train))
        recipe.fit(bundle.train, runtime, observe=events)
        return events.scores()[self.name]


@dataclass(frozen=True)
class Confidence(_LearningEvent):
    """1 - mean probability of the label (the C-proxy), in [0, 1]; higher is harder."""

    name: ClassVar[str] = "confidence"


@dataclass(frozen=True)
class MaxConfidence(_LearningEvent):
    """1 - mean probability of the most probable class, in [0, 1]; higher is harder."""

    name: ClassVar[str] = "max_confidence"


@dataclass(frozen=True)
class Entropy(_LearningEvent):
    """Mean entropy of the prediction in nats, in [0, log K]; higher is harder."""

    name: ClassVar[str] = "entropy"


@dataclass(frozen=True)
class BinaryAccuracy(_LearningEvent):
    """Share of epochs in which the label was not predicted, in [0, 1]; higher is harder."""

    name: ClassVar[str] = "binary_accuracy"


@dataclass(frozen=True)
class CumulativeLoss(_LearningEvent):
    """Mean cross-entropy in nats, in [0, inf); higher is harder.

    The paper's is the sum over epochs (cumulative sample loss, CSL): the same order.
    """

    name: ClassVar[str] = "cumulative_loss"
