"""Relabelling: learn that the forget set means nothing.

SalUn moves only the weights that matter to the forget set: Fan et al., "SalUn: empowering machine
unlearning via gradient-based weight saliency", ICLR 2024, https://arxiv.org/abs/2310.12508.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.batches import Batches, to_float
from rum_ray.training.recipe import check_fraction
from rum_ray.training.runtime import Runtime
from rum_ray.training.space import Domain, Uniform
from rum_ray.unlearning.base import GradientUnlearner, Streams, UnlearningTask


@dataclass(frozen=True, kw_only=True)
class RandomLabel(GradientUnlearner):
    """Minimise CE over S and R together, S with labels drawn anew in each epoch.

    The draw is uniform over all K classes of the model, the true one included.
    """

    name: ClassVar[str] = "random_label"

    def labels(self, task: UnlearningTask, runtime: Runtime, epoch: int) -> Tensor:
        """Return the labels [N_F] of the forget set in an epoch, in 0 .. K - 1."""
        with torch.inference_mode():
            one = to_float(task.forget.x[:1].to(runtime.device))
            original = copy.deepcopy(task.original).to(runtime.device).eval()
            num_classes = original(one).shape[1]
        seed = runtime.seed / epoch / "labels"
        return torch.from_numpy(seed.integers(len(task.forget), num_classes))

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: Streams, epoch: int
    ) -> Iterator[Tensor]:
        labels = self.labels(data.task, data.runtime, epoch)
        for x, y in data.mixed(labels):
            yield F.cross_entropy(model(x), y)

    @override
    def cost(self, forget: int, retain: int) -> float:
        return float(self.epochs * (forget + retain))


@dataclass(frozen=True, kw_only=True)
class SalUn(RandomLabel):
    """Random labels, moving only the weights that are salient for the forget set.

    Saliency is |d CE(S) / d theta| at the original model, in eval mode, of the sum over batches;
    the `keep` share of all parameters with the largest one may move, the others keep every bit.

    Attributes:
        keep: rho, the share of weights that may move, in [0, 1].
    """

    name: ClassVar[str] = "salun"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "keep": Uniform(0.1, 0.9),
    }

    keep: float = 0.5

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "keep")

    @override
    def frozen(self, task: UnlearningTask, runtime: Runtime) -> Mapping[str, Tensor]:
        saliency = self._saliency(task, runtime)
        flat = torch.cat([s.flatten() for s in saliency.values()])
        moving = torch.zeros_like(flat, dtype=torch.bool)
        # A stable sort gives ties to the earlier weight.
        moving[flat.argsort(descending=True, stable=True)[: int(self.keep * len(flat))]] = True
        masks = moving.logical_not().split([s.numel() for s in saliency.values()])
        return {
            name: mask.view_as(saliency[name])
            for name, mask in zip(saliency, masks, strict=True)
            if bool(mask.any())
        }

    def _saliency(self, task: UnlearningTask, runtime: Runtime) -> dict[str, Tensor]:
        """Return |d CE(S) / d theta| at the original model, by parameter."""
        original = copy.deepcopy(task.original).to(runtime.device).eval().requires_grad_(True)
        batches = Batches(task.forget, self.batch_size, runtime.device)
        for _, x, y in batches.epoch(runtime.seed):
            F.cross_entropy(original(x), y).backward()
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad.abs()
            for name, p in original.named_parameters()
        }

    @override
    def cost(self, forget: int, retain: int) -> float:
        return super().cost(forget, retain) + forget
