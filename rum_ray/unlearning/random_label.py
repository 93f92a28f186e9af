"""Random relabelling of the forget set: for all weights, and for salient weights only."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.batches import Batches, to_float
from rum_ray.training.domains import Domain, Uniform
from rum_ray.training.recipe import check_choice, check_fraction, check_not_negative
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import EpochData, GradientUnlearner, UnlearningTask
from rum_ray.unlearning.finetune import FineTune
from rum_ray.unlearning.gradients import batch_gradients, by_parameter, differentiable

REPAIR = 0.1
"""Learning rate of the repair, as a multiple of the unlearner's."""


@dataclass(frozen=True, kw_only=True)
class RandomLabel(GradientUnlearner):
    """Train on random labels for the forget set, and on true labels for the retain set.

    Formula: CE(S with random labels, R), over shuffled batches of both sets together.

    Labels are drawn again in each epoch, uniformly over all K classes of the model, including the
    true one.

    Reference: Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net: selective
    forgetting in deep networks", CVPR 2020, https://arxiv.org/abs/1911.04933.

    Example:
        >>> import rum_ray as rr
        >>> rr.RandomLabel(epochs=2).cost(forget=40, retain=90)
        260.0
    """

    name: ClassVar[str] = "random_label"
    title: ClassVar[str] = "random label"

    def labels(self, task: UnlearningTask, runtime: Runtime, epoch: int) -> Tensor:
        """Return the random labels [N_F] of the forget set in an epoch, in 0 .. K - 1."""
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
    """Train on random labels, and update only the weights that are salient for the forget set.

    Formula: CE(S with random labels, R), in the floor(keep * P) of all P weights with the largest
    |sum over batches b of S of grad CE(b)| at the original model.

    Saliency is computed in eval mode, with batches of `batch_size`. All other weights are frozen
    bit for bit: neither momentum nor weight decay changes them. The code released with the RUM
    paper differs in two ways, which `mask: official` reproduces. It takes an ascent step on CE(b)
    after each batch, with the unlearner's own `lr`, momentum and weight decay, so saliency is a sum
    that path. And it updates the weights with the smallest saliency.

    A constant learning rate that is high enough to forget few examples leaves its noise in the
    weights, which costs accuracy. With `repair`, epochs of fine-tuning on R follow, of all weights
    and at a tenth of `lr`.

    Reference: Fan et al., "SalUn: empowering machine unlearning via gradient-based weight saliency
    in both image classification and generation", ICLR 2024, https://arxiv.org/abs/2310.12508.

    Attributes:
        keep: rho, the fraction of weights that are updated, in [0, 1].
        mask: "saliency" updates the most salient weights, "official" those of the released code.
        repair: epochs of fine-tuning that follow; 0 for none.

    Example:
        >>> import rum_ray as rr
        >>> rr.SalUn(epochs=2).cost(forget=40, retain=90)
        300.0
    """

    name: ClassVar[str] = "salun"
    title: ClassVar[str] = "SalUn"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "keep": Uniform(0.1, 0.9),
    }

    keep: float = 0.5
    mask: Literal["saliency", "official"] = "saliency"
    repair: int = field(default=0, metadata={"sparse": 0})

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "keep")
        check_not_negative(self, "repair")
        check_choice(self, "mask", "saliency", "official")

    @override
    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        unlearned = super().__call__(model, task, runtime)
        if not self.repair:
            return unlearned
        shared = {key: getattr(self, key) for key in ("batch_size", "momentum", "weight_decay")}
        repair = FineTune(lr=REPAIR * self.lr, epochs=self.repair, **shared)
        return repair(unlearned, task, runtime / "repair")

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        saliency = self._saliency(task, runtime)
        ranks = -saliency if self.mask == "saliency" else saliency
        moving = lowest(ranks, int(self.keep * len(ranks))).to(saliency.dtype)
        masks = by_parameter(moving, student)
        return {name: mask for name, mask in masks.items() if not bool(mask.all())}

    def _saliency(self, task: UnlearningTask, runtime: Runtime) -> Tensor:
        """Return |sum over batches of the gradient| [P], which starts at the original model."""
        original = differentiable(task.original, runtime)
        ascent = None
        if self.mask == "official":
            ascent = self.optimizer(original, task, fused=False, maximize=True)
        batches = Batches(task.forget, self.batch_size, runtime.device).epoch(runtime.seed)
        total = torch.zeros(())
        for gradient in batch_gradients(original, ((x, y) for _, x, y in batches)):
            total = total + gradient
            if ascent is not None:
                for name, part in by_parameter(gradient, original).items():
                    original.get_parameter(name).grad = part
                ascent.step()
        return total.abs()

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R|) + |S| + repair * |R|; the second term is the mask."""
        return super().cost(forget, retain) + forget + self.repair * retain


def lowest(values: Tensor, count: int) -> Tensor:
    """Return [P] bool, True for the `count` lowest of `values` [P]; ties go to the earlier value.

    A selection takes a tenth of the time and of the memory of a sort.
    """
    if not count:
        return torch.zeros_like(values, dtype=torch.bool)
    # NumPy's selection has no indices, which take twice the memory of the values.
    edge = values.new_tensor(np.partition(values.cpu().numpy(), count - 1)[count - 1])
    chosen = values < edge
    tied = (values == edge).nonzero().flatten()
    chosen[tied[: count - int(chosen.sum())]] = True
    return chosen
