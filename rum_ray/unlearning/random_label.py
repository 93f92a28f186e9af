"""Relabelling: learn that the forget set means nothing."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.batches import Batches, to_float
from rum_ray.training.domains import Domain, Uniform
from rum_ray.training.recipe import check_choice, check_fraction
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import EpochData, GradientUnlearner, UnlearningTask
from rum_ray.unlearning.gradients import batch_gradients, by_parameter, differentiable


@dataclass(frozen=True, kw_only=True)
class RandomLabel(GradientUnlearner):
    """Learn random labels for the forget set, and the rest as it is.

    Formula: CE(S with random labels, R), over shuffled batches of both together.

    Labels are drawn anew in each epoch, uniformly over all K classes of the model, the true one
    included.

    Reference: Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net: selective
    forgetting in deep networks", CVPR 2020, https://arxiv.org/abs/1911.04933.
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
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        labels = self.labels(data.task, data.runtime, epoch)
        for x, y in data.mixed(labels):
            yield F.cross_entropy(model(x), y)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R|)."""
        return float(self.epochs * (forget + retain))


@dataclass(frozen=True, kw_only=True)
class SalUn(RandomLabel):
    """Random labels, moving only the weights that are salient for the forget set.

    Formula: CE(S with random labels, R), in the floor(keep * P) of all P weights with the largest
    |sum over batches b of S of grad CE(b)| at the original model.

    Saliency is in eval mode, with batches of `batch_size`. The other weights keep every bit:
    neither momentum nor weight decay moves them. The code released with the RUM paper differs in
    two ways, and `mask: official` does as it does: it takes a step up CE(b) after each batch, with
    the unlearner's own `lr`, momentum and weight decay, so that saliency is gathered along the way,
    and it moves the weights with the smallest saliency.

    Reference: Fan et al., "SalUn: empowering machine unlearning via gradient-based weight saliency
    in both image classification and generation", ICLR 2024, https://arxiv.org/abs/2310.12508.

    Attributes:
        keep: rho, the share of weights that may move, in [0, 1].
        mask: "saliency" moves the most salient weights, "official" what the released code moves.
    """

    name: ClassVar[str] = "salun"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "keep": Uniform(0.1, 0.9),
    }

    keep: float = 0.5
    mask: Literal["saliency", "official"] = "saliency"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "keep")
        check_choice(self, "mask", "saliency", "official")

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        saliency = self._saliency(task, runtime)
        # A stable sort gives ties to the earlier weight.
        ranked = saliency.argsort(descending=self.mask == "saliency", stable=True)
        moving = torch.zeros_like(saliency)
        moving[ranked[: int(self.keep * len(ranked))]] = 1
        masks = by_parameter(moving, student)
        return {name: mask for name, mask in masks.items() if not bool(mask.all())}

    def _saliency(self, task: UnlearningTask, runtime: Runtime) -> Tensor:
        """Return |sum over batches of the gradient| [P], from the original model on."""
        original = differentiable(task.original, runtime)
        climber = self._climber(original) if self.mask == "official" else None
        batches = Batches(task.forget, self.batch_size, runtime.device).epoch(runtime.seed)
        total = torch.zeros(())
        for gradient in batch_gradients(original, ((x, y) for _, x, y in batches)):
            total = total + gradient
            if climber is not None:
                for name, part in by_parameter(gradient, original).items():
                    original.get_parameter(name).grad = part
                climber.step()
        return total.abs()

    def _climber(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return what steps up the loss between the batches."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            maximize=True,
        )

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R|) + |S|, the last for the mask."""
        return super().cost(forget, retain) + forget
