"""AMUN: fine-tune on the nearest adversarial examples of the forget set."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.batches import PREDICTION_BATCH, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.training.domains import Choice, Domain
from rum_ray.training.recipe import check_positive
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import (
    FORWARD_ONLY,
    EpochData,
    GradientUnlearner,
    UnlearningTask,
    check_task,
)


@dataclass(frozen=True, kw_only=True)
class AMUN(GradientUnlearner):
    """Fine-tune on adversarial examples near the forget set, with the labels the model gives them.

    Formula: CE(A, R), over shuffled batches of both sets together. A has for each (x, y) of S the
    pair (x', y') with y' the class of x' under the model before unlearning. x' is the first point
    with y' other than y on the way x <- P(x + r / 10 * g / |g|), with g = grad_x CE and P the
    projection on the ball of radius r around the example, then on the range of the inputs of S and
    R. There are `steps` steps for each radius r, 2 r, 4 r, ..., and each radius starts from x.

    The search for x' is in eval mode, in float32, without augmentation. An example that no radius
    misclassifies keeps its last point, with the most probable other class. The paper goes on until
    a radius does; the cost has to be known before. In the authors' code a larger radius goes on
    from the last point of the smaller one, A is not augmented, and the learning rate falls. R is
    held as float32.

    Reference: Ebrahimpour-Boroojeny, Sundaram and Chandrasekaran, "AMUN: adversarial machine
    unlearning", 2025, https://arxiv.org/abs/2503.00917.

    Attributes:
        radius: the first radius r, in the L2 norm of inputs in [0, 1].
        radii: number of radii, each twice the one before.
        steps: gradient steps per radius.

    Example:
        >>> import rum_ray as rr
        >>> round(rr.AMUN(epochs=2, radii=3, steps=10).cost(forget=40, retain=90))
        1500
    """

    name: ClassVar[str] = "amun"
    title: ClassVar[str] = "AMUN"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "steps": Choice((10, 20, 50)),
    }

    radius: float = 0.04
    radii: int = 6
    steps: int = 50

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "radius", "radii", "steps")

    @override
    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        check_task(task, self.name)
        frozen = copy.deepcopy(model).to(runtime.device).eval().requires_grad_(False)
        retain = replace(task.retain, x=to_float(task.retain.x))
        near = self.adversarial(frozen, task.forget, retain, runtime.device)
        return super().__call__(model, replace(task, forget=near, retain=retain), runtime)

    def adversarial(
        self, model: nn.Module, forget: LabeledData, retain: LabeledData, device: torch.device
    ) -> LabeledData:
        """Return A: the forget set with other inputs and labels.

        Args:
            model: the model before unlearning, frozen, in eval mode, on the device.
            forget: the forget set.
            retain: the retain set, of which the range of the inputs counts.
            device: of the computation.
        """
        x = to_float(forget.x)
        ends = float(min(x.min(), retain.x.min())), float(max(x.max(), retain.x.max()))
        parts = zip(x.split(PREDICTION_BATCH), forget.y.split(PREDICTION_BATCH), strict=True)
        found = [self._search(model, a.to(device), b.to(device), ends) for a, b in parts]
        near, labels = (torch.cat(tensors).cpu() for tensors in zip(*found, strict=True))
        # The model may have more classes than the data.
        classes = max(forget.num_classes, int(labels.max()) + 1)
        return replace(forget, x=near, y=labels, num_classes=classes)

    def _search(
        self, model: nn.Module, x: Tensor, y: Tensor, ends: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """Return the adversarial inputs of a batch, and the classes that the model gives them."""
        near, label, done = x, y, torch.zeros_like(y, dtype=torch.bool)
        for number in range(self.radii):
            point = x
            for step in range(self.steps + 1):
                point = point.detach().requires_grad_(step < self.steps)
                logits = model(point)
                others = logits.detach().scatter(1, y[:, None], -torch.inf)
                near = torch.where(_wide(done, x), near, point.detach())
                label = torch.where(done, label, others.argmax(1))
                done = done | (logits.detach().argmax(1) != y)
                if step < self.steps:
                    loss = F.cross_entropy(logits, y, reduction="sum")
                    (slope,) = torch.autograd.grad(loss, point)
                    point = _moved(point, slope, x, self.radius * 2**number).clamp(*ends)
        return near, label

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        for x, y in data.mixed(data.task.forget.y):
            yield F.cross_entropy(model(x), y)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R|) + radii * (steps + 1/3) * |S|; the last term finds A."""
        search = self.radii * (self.steps + FORWARD_ONLY) * forget
        return self.epochs * (forget + retain) + search


def _moved(point: Tensor, slope: Tensor, center: Tensor, radius: float) -> Tensor:
    """Return the points [B, ...] after a step of r / 10 up the slope, within the radius r."""
    ahead = point.detach() + radius / 10 * slope / _wide(_norm(slope), point)
    away = ahead - center
    return center + away * _wide((radius / _norm(away)).clamp(max=1.0), point)


def _norm(x: Tensor) -> Tensor:
    """Return the L2 norm [B] of each example; not 0."""
    norm: Tensor = x.flatten(1).norm(dim=1)
    return norm.clamp(min=1e-20)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per example [B] with the number of dimensions of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))
