"""Unlearning that leaves the neighbourhood of the original's weights, against relearning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.training.domains import Domain, LogUniform
from rum_ray.training.recipe import check_not_negative
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import EpochData, UnlearningTask
from rum_ray.unlearning.finetune import FineTune

SMOOTHING = 1e-8
"""Mean square that is added to the distance, so that it has a gradient where it is 0."""


@dataclass(frozen=True, kw_only=True)
class WeightDistortion(FineTune):
    """Add noise to all weights, then fine-tune on the retain set.

    Formula: theta + N(0, std^2) for each parameter, once; then CE(R).

    Reference: Siddiqui et al., "From dormant to deleted: tamper-resistant unlearning through
    weight-space regularization", 2025, https://arxiv.org/abs/2505.22310.

    Attributes:
        std: standard deviation of the noise.

    Example:
        >>> import rum_ray as rr
        >>> rr.WeightDistortion(epochs=2).cost(forget=40, retain=90)
        180.0
    """

    name: ClassVar[str] = "weight_distortion"
    title: ClassVar[str] = "weight distortion"
    space: ClassVar[Mapping[str, Domain]] = {**FineTune.space, "std": LogUniform(1e-3, 0.2)}

    std: float = 0.02

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "std")

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        with torch.no_grad():
            for name, parameter in student.named_parameters():
                with (runtime.seed / name).torch():
                    noise = torch.randn(parameter.shape)
                parameter.add_(noise.to(parameter), alpha=self.std)
        return {}


@dataclass(frozen=True, kw_only=True)
class WeightDistReg(FineTune):
    """Fine-tune on the retain set, and move the weights away from those before unlearning.

    Formula: CE(R) - alpha * sqrt(mean (theta - theta_o)^2 + 1e-8), with the mean over all weights
    and theta_o the weights before unlearning.

    The mean is that of the authors' code; it makes alpha independent of the number of weights,
    unlike the L2 norm.

    Reference: Siddiqui et al., "From dormant to deleted: tamper-resistant unlearning through
    weight-space regularization", 2025, https://arxiv.org/abs/2505.22310.

    Attributes:
        alpha: weight of the distance.

    Example:
        >>> import rum_ray as rr
        >>> rr.WeightDistReg(epochs=2).cost(forget=40, retain=90)
        180.0
    """

    name: ClassVar[str] = "weight_dist_reg"
    title: ClassVar[str] = "weight distance"
    space: ClassVar[Mapping[str, Domain]] = {**FineTune.space, "alpha": LogUniform(0.1, 100.0)}

    alpha: float = 1.0

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "alpha")

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        for loss in super().losses(model, teacher, data, epoch):
            yield loss - self.alpha * weight_distance(model, teacher)


def weight_distance(model: nn.Module, other: nn.Module) -> Tensor:
    """Return the root mean square difference of the weights of two models, slightly above."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    squares = torch.stack([((one - two) ** 2).sum() for one, two in pairs])
    count = sum(parameter.numel() for parameter in other.parameters())
    return torch.sqrt(squares.sum() / count + SMOOTHING)
