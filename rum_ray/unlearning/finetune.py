"""Fine-tuning on the retain set, without and with an L1 penalty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.training.domains import Domain, LogUniform
from rum_ray.training.losses import l1_norm
from rum_ray.training.recipe import check_not_negative
from rum_ray.unlearning.base import EpochData, GradientUnlearner


@dataclass(frozen=True, kw_only=True)
class FineTune(GradientUnlearner):
    """Continue training on the retain set, and rely on catastrophic forgetting of the rest.

    Formula: CE(R).

    Reference: Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net: selective
    forgetting in deep networks", CVPR 2020, https://arxiv.org/abs/1911.04933.

    Example:
        >>> import rum_ray as rr
        >>> rr.FineTune(epochs=2).cost(forget=40, retain=90)
        180.0
    """

    name: ClassVar[str] = "finetune"
    title: ClassVar[str] = "fine-tune"

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        for x, y in data.retain:
            yield F.cross_entropy(model(x), y)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * |R|."""
        return float(self.epochs * retain)


@dataclass(frozen=True, kw_only=True)
class L1Sparse(FineTune):
    """Fine-tune with an L1 penalty that decays to zero, to prune traces of the forget set.

    Formula: CE(R) + a_e * sum |theta| over all parameters, with a_e = alpha * (1 - e / E) in epoch
    e of E.

    Reference: Jia et al., "Model sparsity can simplify machine unlearning", NeurIPS 2023,
    https://arxiv.org/abs/2304.04934.

    Attributes:
        alpha: weight of the L1 norm of all parameters in the first epoch.

    Example:
        >>> import rum_ray as rr
        >>> rr.L1Sparse(epochs=2, alpha=1e-4).cost(forget=40, retain=90)
        180.0
    """

    name: ClassVar[str] = "l1_sparse"
    title: ClassVar[str] = "L1-sparse"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "alpha": LogUniform(1e-6, 1e-3),
    }

    alpha: float = 1e-4

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "alpha")

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        weight = self.alpha * (1 - epoch / self.epochs)
        for loss in super().losses(model, teacher, data, epoch):
            yield loss + weight * l1_norm(model)
