"""Two winners of the NeurIPS 2023 competition: perturb the convolutions, then fine-tune on R."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.errors import PlanError
from rum_ray.seeding import Seed
from rum_ray.training.domains import Domain, Uniform
from rum_ray.training.recipe import check_fraction, check_not_negative
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import UnlearningTask
from rum_ray.unlearning.finetune import FineTune
from rum_ray.unlearning.gradients import by_parameter, differentiable, mean_gradient

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, kw_only=True)
class MSG(FineTune):
    """Reinitialize the weights with the smallest gradients, then fine-tune on the retain set.

    Formula: in each convolution, the fraction `redraw` of weights with the smallest |grad CE(R') -
    grad CE(S)| is drawn from N(0, 2 / fan_out); then CE(R), with the gradients of the convolutions'
    other weights times `scale`.

    R' is a random part of R, as large as S. The gradients are means over examples, in eval mode.
    The learning rate rises linearly to `lr` at half of the epochs and falls linearly to 0; each
    epoch uses the rate at its middle. A model without convolutions has its linear layers
    reinitialized instead.

    Reference: second place of the NeurIPS 2023 machine unlearning competition, as described by
    Triantafillou et al., "Are we making progress in unlearning?", 2024,
    https://arxiv.org/abs/2406.09073, and Cadet et al., "Deep unlearn: benchmarking machine
    unlearning", 2024, https://arxiv.org/abs/2410.01276.

    Attributes:
        redraw: rho, fraction of each layer's weights that is reinitialized, in [0, 1].
        scale: gradient scale of the other weights of these layers; 0 freezes them.

    Example:
        >>> import rum_ray as rr
        >>> rr.MSG(epochs=2).cost(forget=40, retain=90)
        260.0
    """

    key_name: ClassVar[str] = "Msg"
    name: ClassVar[str] = "msg"
    title: ClassVar[str] = "MSG"
    space: ClassVar[Mapping[str, Domain]] = {**FineTune.space, "redraw": Uniform(0.1, 0.9)}

    redraw: float = 0.3
    scale: float = 0.1

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "redraw")
        check_not_negative(self, "scale")

    @override
    def learning_rate(self, epoch: int) -> float:
        return self.lr * (1 - abs(2 * (epoch + 0.5) / self.epochs - 1))

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        model, seed = differentiable(student, runtime), runtime.seed
        rows = (seed / "retain").choice(len(task.retain), min(len(task.forget), len(task.retain)))
        gradient = mean_gradient(model, task.retain.take(rows)) - mean_gradient(model, task.forget)
        sizes, scales = by_parameter(gradient.abs(), student), {}
        for name in layer_weights(student):
            weight, drawn = student.get_parameter(name), self._smallest(sizes[name])
            with torch.no_grad():
                weight.copy_(torch.where(drawn, redrawn(weight, seed / name), weight))
            scales[name] = torch.where(drawn, 1.0, self.scale)
        return scales

    def _smallest(self, sizes: Tensor) -> Tensor:
        """Return the mask of a layer's weights to reinitialize; ties go to the earlier weight."""
        smallest = torch.zeros(sizes.numel(), dtype=torch.bool, device=sizes.device)
        order = sizes.flatten().argsort(stable=True)
        smallest[order[: int(self.redraw * len(order))]] = True
        return smallest.view(sizes.shape)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return |S| + min(|S|, |R|) + epochs * |R|."""
        return forget + min(forget, retain) + super().cost(forget, retain)


@dataclass(frozen=True, kw_only=True)
class CT(FineTune):
    """Swap the two axes of every square convolution kernel, then fine-tune on the retain set.

    Formula: w[o, i, y, x] becomes w[o, i, x, y], once; then CE(R), with the learning rate lr / 2 *
    (1 + cos(pi * e / E)) in epoch e of E.

    Kernels that are not square stay unchanged. A model without a square kernel larger than 1 x 1
    is an error.

    Reference: fifth place of the NeurIPS 2023 machine unlearning competition, as described by Cadet
    et al., "Deep unlearn: benchmarking machine unlearning", 2024, https://arxiv.org/abs/2410.01276.

    Example:
        >>> import rum_ray as rr
        >>> rr.CT(epochs=2).cost(forget=40, retain=90)
        180.0
    """

    key_name: ClassVar[str] = "Ct"
    name: ClassVar[str] = "ct"
    title: ClassVar[str] = "CT"

    @override
    def learning_rate(self, epoch: int) -> float:
        return self.lr / 2 * (1 + math.cos(math.pi * epoch / self.epochs))

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        kernels = list(square_kernels(student))
        if not kernels:
            raise PlanError(
                "ct: the model has no square convolution kernel larger than 1 x 1. Use a "
                "convolutional model, such as small_cnn, or another unlearner."
            )
        with torch.no_grad():
            for kernel in kernels:
                kernel.copy_(kernel.mT.clone())
        return {}


def layer_weights(model: nn.Module) -> list[str]:
    """Return the names of all convolution weights, or of all linear weights if there are none.

    Raises:
        PlanError: the model has neither convolutions nor linear layers.
    """
    for kinds in (CONVOLUTIONS, nn.Linear):
        layers = [name for name, layer in model.named_modules() if isinstance(layer, kinds)]
        if layers:
            return [f"{name}.weight".lstrip(".") for name in layers]
    raise PlanError(
        "msg: the model has neither convolutions nor linear layers to reinitialize. "
        "Use another unlearner."
    )


def redrawn(weight: Tensor, seed: Seed) -> Tensor:
    """Return fresh weights from N(0, 2 / fan_out), with the shape and device of `weight`."""
    with seed.torch():
        fresh = nn.init.kaiming_normal_(torch.empty(weight.shape), mode="fan_out")
    return fresh.to(weight.device)


def square_kernels(model: nn.Module) -> Iterator[Tensor]:
    """Yield the weights of convolutions with square kernels larger than 1 x 1."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            if height == width > 1:
                yield layer.weight
