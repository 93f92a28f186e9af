"""SCRUB: diverge from a teacher on the forget set, and follow it on the retain set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.training.domains import Domain, Integers, LogUniform, Rate, Uniform
from rum_ray.training.losses import distillation_kl
from rum_ray.training.recipe import check_not_negative, check_positive
from rum_ray.unlearning.base import FORWARD_ONLY, EpochData, GradientUnlearner


@dataclass(frozen=True, kw_only=True)
class Scrub(GradientUnlearner):
    """Diverge from a teacher on the forget set, and follow it on the retain set, in alternation.

    Formula: in each epoch below `max_epochs` first -KL_T(S); then in each epoch gamma * CE(R) +
    alpha * KL_T(R), with KL_T = T^2 * KL(softmax(f_t / T) || softmax(f / T)).

    The teacher f_t is the model before unlearning, frozen, in eval mode. The code released with the
    RUM paper makes one more pass over S than its `msteps` states; `max_epochs` = msteps + 1
    reproduces it.

    Reference: Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards unbounded machine
    unlearning", NeurIPS 2023, https://arxiv.org/abs/2302.09880.

    Attributes:
        alpha: weight of the distillation term on the retain set.
        gamma: weight of the cross-entropy on the retain set.
        temperature: T, softness of both distributions.
        max_epochs: number of epochs that begin with a max-pass over the forget set (msteps).

    Example:
        >>> import rum_ray as rr
        >>> rr.Scrub(epochs=2, max_epochs=1).cost(forget=30, retain=90)
        280.0
    """

    name: ClassVar[str] = "scrub"
    title: ClassVar[str] = "SCRUB"
    space: ClassVar[Mapping[str, Domain]] = {
        "lr": Rate(5e-4, 5e-2),
        "epochs": Integers(1, 10),
        "alpha": LogUniform(1e-3, 1.0),
        "gamma": Uniform(0.9, 1.0),
        "max_epochs": Integers(1, 5),
    }

    alpha: float = 0.5
    gamma: float = 1.0
    temperature: float = 4.0
    max_epochs: int = 3

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")
        check_not_negative(self, "alpha", "gamma", "max_epochs")

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        if epoch < self.max_epochs:
            for x, _ in data.forget:
                yield -distillation_kl(model(x), teacher(x), self.temperature)
        for x, y in data.retain:
            logits = model(x)
            keep = distillation_kl(logits, teacher(x), self.temperature)
            yield self.gamma * F.cross_entropy(logits, y) + self.alpha * keep

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return (min(max_epochs, epochs) * |S| + epochs * |R|) * 4/3; the teacher adds a third."""
        passes = min(self.max_epochs, self.epochs) * forget + self.epochs * retain
        return passes * (1 + FORWARD_ONLY)
