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
from rum_ray.training.recipe import Recipe, check_not_negative, check_positive
from rum_ray.training.runtime import Runtime, check_finite
from rum_ray.training.space import Domain, Integers, LogUniform

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
class Streams:
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
        forget, retain = self.task.forget, self.task.retain
        both = LabeledData(
            x=torch.cat([forget.x, retain.x]),
            y=torch.cat([labels, retain.y]),
            ids=np.concatenate([forget.ids, retain.ids]),
            num_classes=max(forget.num_classes, retain.num_classes, int(labels.max()) + 1),
        )
        return self._batches(both, "mixed")


@dataclass(frozen=True, kw_only=True)
class GradientUnlearner(ABC):
    """An unlearner that steps down the losses it yields, by SGD with a fresh momentum.

    The learning rate is constant and batch normalisation is in train mode, as in the paper.

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
        self, model: nn.Module, teacher: nn.Module, data: Streams, epoch: int
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

    def frozen(self, task: UnlearningTask, runtime: Runtime) -> Mapping[str, Tensor]:
        """Return, by parameter, which weights must keep every bit; none by default."""
        del task, runtime
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
        parameters = dict(student.named_parameters())
        frozen = self.frozen(task, runtime / "mask")
        forward, teach = (_in_training(net, task.recipe) for net in (student, teacher))
        kept = [(parameters[name], mask, parameters[name][mask]) for name, mask in frozen.items()]
        for epoch in runtime.epochs(self.epochs, model=student, optimizer=optimizer):
            student.train()
            total = torch.zeros((), device=runtime.device)
            data = Streams(task, runtime, epoch, self.batch_size)
            with (runtime.seed / epoch / "dropout").torch():
                for loss in self.losses(forward, teach, data, epoch):
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    _put_back(kept)
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


@torch.no_grad()
def _put_back(kept: list[tuple[nn.Parameter, Tensor, Tensor]]) -> None:
    """Give masked weights the values they had."""
    for parameter, mask, values in kept:
        parameter[mask] = values


def _check_loss(total: Tensor, unlearner: GradientUnlearner, epoch: int) -> None:
    """Raise DivergedError unless the epoch's losses are finite."""
    if not math.isfinite(total.item()):
        raise DivergedError(
            f"{unlearner.name} reached a loss of {total.item()} in epoch {epoch}. "
            f"Lower lr (now {unlearner.lr})."
        )
