"""What an unlearner is, and the loop that all iterative ones share.

The contract, which `rum_ray.testing.UnlearnerContract` checks: the model it is given stays as it
was and shares no memory with the one returned; the same model, task and seed give the same bits,
also across a crash; the result is in eval mode with finite weights; it is a value.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import DivergedError, PlanError
from rum_ray.training.domains import Domain, Integers, LogUniform
from rum_ray.training.recipe import Recipe, check_not_negative, check_positive
from rum_ray.training.runtime import Runtime, check_finite

FORWARD_ONLY = 1 / 3
"""Cost of a forward pass, in passes forward and backward."""


@dataclass(frozen=True, eq=False)
class UnlearningTask:
    """What to forget and what to keep.

    Attributes:
        forget: S, or the subset whose turn it is.
        retain: R, or what remains at this step.
        original: the model before the first step; SalUn's mask needs it.
        recipe: how the original was trained. Unlearning augments and computes as it did; without
            one, it does not augment, and computes in float32.
    """

    forget: LabeledData
    retain: LabeledData
    original: nn.Module
    recipe: Recipe | None = None


class Unlearner(Protocol):
    """A frozen dataclass whose fields are its hyperparameters.

    Attributes:
        name: its YAML name.
        space: what a search may choose for its fields.
    """

    name: ClassVar[str]
    space: ClassVar[Mapping[str, Domain]]

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return a new model, in eval mode, that has forgotten."""
        ...

    def cost(self, forget: int, retain: int) -> float:
        """Return the examples passed forward and backward; forward-only ones count a third."""
        ...


@dataclass(frozen=True, eq=False)
class EpochData:
    """The data of one epoch of unlearning, as an algorithm sees them.

    Attributes:
        task: what to forget and keep.
        runtime: the unlearner's seed, and the device.
        epoch: 0-based.
        batch_size: examples a batch.
    """

    task: UnlearningTask
    runtime: Runtime
    epoch: int
    batch_size: int

    def _batches(self, data: LabeledData, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        augment = self.task.recipe is not None and self.task.recipe.augment
        batches = Batches(data, self.batch_size, self.runtime.device, augment)
        for _, x, y in batches.epoch(self.runtime.seed / self.epoch / name):
            yield x, y

    @property
    def forget(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A shuffled pass over the forget set."""
        return self._batches(self.task.forget, "forget")

    @property
    def retain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A shuffled pass over the retain set."""
        return self._batches(self.task.retain, "retain")

    def mixed(self, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A shuffled pass over both sets together, the forget set with other labels [N_F]."""
        return self._batches(concat_sets(self.task, labels), "mixed")


@dataclass(frozen=True, kw_only=True)
class GradientUnlearner(ABC):
    """An unlearner that steps down the losses it yields, by SGD with a fresh momentum.

    As in the paper, the learning rate is constant, and batch normalisation is in train mode.

    Attributes:
        lr: learning rate.
        epochs: passes, of what the algorithm says.
        batch_size: of forget and retain batches.
        momentum: of SGD.
        weight_decay: on all parameters.
    """

    name: ClassVar[str]
    space: ClassVar[Mapping[str, Domain]] = {
        "lr": LogUniform(1e-3, 0.2),
        "epochs": Integers(1, 10),
    }

    lr: float = 0.01
    epochs: int = 5
    batch_size: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_positive(self, "lr", "epochs", "batch_size")
        check_not_negative(self, "momentum", "weight_decay")

    @abstractmethod
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        """Yield the losses of one epoch; the loop takes a step down each.

        Args:
            model: the model that unlearns, in train mode.
            teacher: the model it was, frozen, in eval mode.
            data: forget and retain batches.
            epoch: 0-based.
        """

    @abstractmethod
    def cost(self, forget: int, retain: int) -> float:
        """Return the examples passed forward and backward; forward-only ones count a third."""

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of a 0-based epoch; constant by default."""
        del epoch
        return self.lr

    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        """Change the model before its first step, if need be; by default it stays as it is.

        Returns:
            By parameter, what its gradients are multiplied by; a weight with 0 keeps every bit.
        """
        del student, task, runtime
        return {}

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return a new model, in eval mode, that has forgotten.

        Raises:
            PlanError: there is nothing to forget, or nothing to retain.
            DivergedError: a loss or a weight is not finite.
        """
        check_task(task, self.name)
        teacher = copy.deepcopy(model).to(runtime.device).eval().requires_grad_(False)
        student = copy.deepcopy(model).to(runtime.device).requires_grad_(True)
        optimizer = torch.optim.SGD(
            student.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=True,
        )
        prepared = self.prepare(student, task, runtime / "mask").items()
        scales = [(student.get_parameter(name), scale) for name, scale in prepared]
        kept = [(p, s == 0, p[s == 0].detach()) for p, s in scales if bool((s == 0).any())]
        forward, teach = (_in_training(net, task.recipe) for net in (student, teacher))
        for epoch in runtime.epochs(self.epochs, model=student, optimizer=optimizer):
            optimizer.param_groups[0]["lr"] = self.learning_rate(epoch)
            student.train()
            total = torch.zeros((), device=runtime.device)
            data = EpochData(task, runtime, epoch, self.batch_size)
            with (runtime.seed / epoch / "dropout").torch():
                for loss in self.losses(forward, teach, data, epoch):
                    optimizer.zero_grad()
                    loss.backward()
                    for parameter, scale in scales:
                        _scale(parameter, scale)
                    optimizer.step()
                    for weights in kept:
                        restore_frozen(*weights)
                    total += loss.detach()
            _check_loss(total, self, epoch)
        check_finite(student, self.name)
        return student.eval()


def _in_training(model: nn.Module, recipe: Recipe | None) -> nn.Module:
    """Return the model as the recipe calls it, in its precision."""
    return model if recipe is None else recipe.forward(model)


def check_task(task: UnlearningTask, name: str) -> None:
    """Raise PlanError if one of the two sets is empty."""
    for part, data in (("forget", task.forget), ("retain", task.retain)):
        if not len(data):
            raise PlanError(f"{name} was given an empty {part} set; it needs at least one example.")


def concat_sets(task: UnlearningTask, labels: Tensor) -> LabeledData:
    """Return the forget set, with these labels [N_F], and the retain set as one set."""
    forget, retain = task.forget, task.retain
    return LabeledData(
        x=torch.cat([forget.x, retain.x]),
        y=torch.cat([labels, retain.y]),
        ids=np.concatenate([forget.ids, retain.ids]),
        num_classes=max(forget.num_classes, retain.num_classes, int(labels.max()) + 1),
    )


def _scale(parameter: nn.Parameter, by: Tensor) -> None:
    """Multiply a parameter's gradient, if it has one."""
    if parameter.grad is not None:
        parameter.grad *= by


@torch.no_grad()
def restore_frozen(parameter: nn.Parameter, frozen: Tensor, values: Tensor) -> None:
    """Give frozen weights the values they had."""
    parameter[frozen] = values


def _check_loss(total: Tensor, unlearner: GradientUnlearner, epoch: int) -> None:
    """Raise DivergedError unless the epoch's losses are finite."""
    if not math.isfinite(total.item()):
        raise DivergedError(
            f"{unlearner.name} reached a loss of {total.item()} in epoch {epoch}. "
            f"Lower lr (now {unlearner.lr})."
        )
