"""Proxies from training dynamics: how confidently an example is learned, over all epochs.

Each proxy is a mean over epochs of a statistic of the *training* forward pass: in train mode,
augmented if the recipe augments, under the weights before that step. No extra pass is needed. All
are oriented so that **higher is harder to forget** (Zhao and Triantafillou, "Scalability of
memorization-based machine unlearning", 2024, https://arxiv.org/abs/2410.16516; the loss:
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
    """Means of each example's events over epochs; pass it to `Recipe.fit` as `observe`.

    Batches are buffered until they hold as many examples as the training set, so that training
    does not wait for transfers from the device.
    """

    def __init__(self, examples: int) -> None:
        """Start empty, for `examples` training examples."""
        super().__init__(len(EVENTS), examples)
        self.buffer: list[tuple[Tensor, Tensor, Tensor]] = []
        self.remaining = examples

    def __call__(self, rows: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Buffer a batch: rows [B], logits [B, K], labels [B]."""
        self.buffer.append((rows, logits, labels))
        self.remaining -= len(rows)
        if self.remaining <= 0:
            self._flush()

    def _flush(self) -> None:
        """Add the events of the buffered batches to the means."""
        if not self.buffer:
            return
        rows, logits, labels = (torch.cat(parts) for parts in zip(*self.buffer, strict=True))
        self.buffer, self.remaining = [], len(self.visits)
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
        """Return the means [kinds, N], float64; NaN for an example without a visit."""
        self._flush()
        return super().means()

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save, so that an interrupted training run can resume."""
        self._flush()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state and discard the buffer."""
        self.buffer, self.remaining = [], len(self.visits)
        super().load_state_dict(state_dict)

    def scores(self) -> Mapping[str, Scores]:
        """Return the mean of each event over epochs; higher is harder."""
        return {name: Scores(m, name=name) for name, m in zip(EVENTS, self.means(), strict=True)}


@dataclass(frozen=True)
class _LearningEvent:
    """A proxy that trains once and returns one of the events."""

    name: ClassVar[str]

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        events = LearningEvents(len(bundle.train))
        recipe.fit(bundle.train, runtime, observe=events)
        return events.scores()[self.name]


@dataclass(frozen=True)
class Confidence(_LearningEvent):
    """1 - mean probability of the label (the C-proxy), in [0, 1]; higher is harder.

    Reference: Zhao and Triantafillou, "Scalability of memorization-based machine unlearning",
    2024, https://arxiv.org/abs/2410.16516.
    """

    name: ClassVar[str] = "confidence"


@dataclass(frozen=True)
class MaxConfidence(_LearningEvent):
    """1 - mean probability of the most probable class, in [0, 1]; higher is harder.

    Reference: Zhao and Triantafillou, "Scalability of memorization-based machine unlearning",
    2024, https://arxiv.org/abs/2410.16516.
    """

    name: ClassVar[str] = "max_confidence"


@dataclass(frozen=True)
class Entropy(_LearningEvent):
    """Mean entropy of the prediction in nats, in [0, log K]; higher is harder.

    Reference: Zhao and Triantafillou, "Scalability of memorization-based machine unlearning",
    2024, https://arxiv.org/abs/2410.16516.
    """

    name: ClassVar[str] = "entropy"


@dataclass(frozen=True)
class BinaryAccuracy(_LearningEvent):
    """Fraction of epochs in which the label is not predicted, in [0, 1]; higher is harder.

    Reference: Zhao and Triantafillou, "Scalability of memorization-based machine unlearning",
    2024, https://arxiv.org/abs/2410.16516.
    """

    name: ClassVar[str] = "binary_accuracy"


@dataclass(frozen=True)
class CumulativeLoss(_LearningEvent):
    """Mean cross-entropy in nats, in [0, inf); higher is harder.

    Reference: Ravikumar, Soufleri, Hashemi and Roy, "Towards memorization estimation: fast,
    formal and free", ICML 2025, https://openreview.net/forum?id=KZlQEoEtiu.

    The paper's cumulative sample loss (CSL) is the sum over epochs, which gives the same ranking.
    """

    name: ClassVar[str] = "cumulative_loss"
