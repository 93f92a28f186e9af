"""Gradient ascent on the forget set, without and with descent on the retain set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from math import ceil
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.training.domains import Domain, Integers, Rate, Uniform
from rum_ray.training.recipe import check_fraction
from rum_ray.unlearning.base import EpochData, GradientUnlearner


@dataclass(frozen=True, kw_only=True)
class NegGrad(GradientUnlearner):
    """Unlearn by gradient ascent on the forget set.

    Formula: -CE(S).

    Reference: Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net: selective
    forgetting in deep networks", CVPR 2020, https://arxiv.org/abs/1911.04933.

    Example:
        >>> import rum_ray as rr
        >>> rr.NegGrad(epochs=2).cost(forget=40, retain=90)
        80.0
    """

    name: ClassVar[str] = "neggrad"
    title: ClassVar[str] = "NegGrad"
    space: ClassVar[Mapping[str, Domain]] = {
        "lr": Rate(1e-5, 1e-2),
        "epochs": Integers(1, 10),
    }

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        for x, y in data.forget:
            yield -F.cross_entropy(model(x), y)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * |S|."""
        return float(self.epochs * forget)


@dataclass(frozen=True, kw_only=True)
class NegGradPlus(GradientUnlearner):
    """Ascend on the forget set while descending on the retain set.

    Formula: alpha * CE(R) - (1 - alpha) * CE(S).

    An epoch is one pass over the retain batches, in parallel with a cycle over one fixed order of
    the forget batches. The two sets have separate forward passes, so batch normalisation sees each
    set on its own.

    Reference: Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards unbounded machine
    unlearning", NeurIPS 2023, https://arxiv.org/abs/2302.09880.

    Attributes:
        alpha: weight of the retain loss, in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> rr.NegGradPlus(epochs=2).cost(forget=40, retain=90)
        340.0
    """

    name: ClassVar[str] = "neggrad+"
    title: ClassVar[str] = "NegGrad+"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "alpha": Uniform(0.8, 0.999),
    }

    alpha: float = 0.95

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "alpha")

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        forget = cycle(data.forget)
        for (x_r, y_r), (x_f, y_f) in zip(data.retain, forget, strict=False):
            keep, lose = F.cross_entropy(model(x_r), y_r), F.cross_entropy(model(x_f), y_f)
            yield self.alpha * keep - (1 - self.alpha) * lose

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|R| + examples in one forget batch per retain batch)."""
        rounds, rest = divmod(ceil(retain / self.batch_size), ceil(forget / self.batch_size))
        return float(self.epochs * (retain + rounds * forget + min(rest * self.batch_size, forget)))
