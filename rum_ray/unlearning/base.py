"""The unlearner protocol, and the loop that all iterative unlearners share.

`rum_ray.testing.UnlearnerContract` checks the contract:

- The input model is unchanged, and shares no memory with the result.
- The same model, task and seed give the same bits, also when a crash interrupts the run.
- The result is in eval mode, with finite weights.
- An unlearner is a value: frozen, hashable and picklable.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import DivergedError, PlanError
from rum_ray.training.domains import Domain, Integers, Rate
from rum_ray.training.first_step import explained
from rum_ray.training.optimizers import new_optimizer, set_rate
from rum_ray.training.recipe import Recipe, check_not_negative, check_positive
from rum_ray.training.runtime import Runtime, check_finite

FORWARD_ONLY = 1 / 3
"""Cost of a forward pass alone, in units of one forward and backward pass."""


@dataclass(frozen=True, eq=False)
class UnlearningTask:
    """The data sets of one unlearning step.

    Attributes:
        forget: S, or the subset that this step forgets.
        retain: R, or the retain set of this step.
        original: the model before the first step; SalUn's mask needs it.
        recipe: recipe of the original. Unlearning uses its augmentation and precision. If None,
            there is no augmentation and the precision is float32.
        shift: [N_F + N_R] float32, predicted change of the output on S, then R, if S is left out of
            the training, as a logit of the label's probability; None if unknown.

    Example:
        >>> import rum_ray as rr
        >>> train, recipe = rr.load("digits").train, rr.Recipe("mlp", epochs=1)
        >>> runtime = rr.LocalRuntime(rr.Seed(0))
        >>> original = recipe.fit(train, runtime / "original")
        >>> task = rr.UnlearningTask(train.take(range(40)), train.take(range(40, 130)), original)
        >>> model = rr.FineTune(epochs=1)(original, task, runtime / "finetune")
        >>> model is original, model.training
        (False, False)
    """

    forget: LabeledData
    retain: LabeledData
    original: nn.Module
    recipe: Recipe | None = None
    shift: NDArray[np.float32] | None = None


class Unlearner(Protocol):
    """A frozen dataclass whose fields are its hyperparameters.

    A class may also have `title: ClassVar[str]`, its name in the report. Without one, the report
    shows its `name`.

    Attributes:
        name: YAML name.
        space: search domains, by hyperparameter.
    """

    name: ClassVar[str]
    space: ClassVar[Mapping[str, Domain]]

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return the unlearned model: a new model, in eval mode."""
        ...

    def cost(self, forget: int, retain: int) -> float:
        """Return the examples passed forward and backward; a forward pass alone counts a third.

        Args:
            forget: size of the forget set.
            retain: size of the retain set.
        """
        ...


@dataclass(frozen=True, eq=False)
class EpochData:
    """The batches of one epoch of unlearning.

    Attributes:
        task: forget and retain set.
        runtime: seed of the unlearner, and device.
        epoch: 0-based.
        batch_size: number of examples per batch.
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
        """Return a shuffled pass over both sets as one, with `labels` [N_F] for the forget set."""
        return self._batches(concat_sets(self.task, labels), "mixed")

    def marked(self, retain: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return a shuffled pass over S and a random part of R, the same in each epoch.

        Instead of its class, an example has the label 1 in S and 0 in R.

        Args:
            retain: number of examples of R.
        """
        task = self.task
        rows = (self.runtime.seed / "retain").choice(len(task.retain), retain)
        part = task.retain.take(rows).relabeled(np.zeros(len(rows)))
        marked = replace(self, task=replace(task, retain=part))
        return marked.mixed(torch.ones(len(task.forget), dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class GradientUnlearner(ABC):
    """An unlearner that minimizes the losses it yields, by SGD that starts without momentum.

    As in the paper, the learning rate is constant, and batch normalisation is in train mode. If the
    original was trained with AdamW, so are the steps of the unlearner.

    Attributes:
        lr: learning rate.
        epochs: number of epochs; the algorithm defines an epoch.
        batch_size: number of examples per batch, for forget and retain batches.
        momentum: momentum of SGD; beta_1 of AdamW.
        weight_decay: weight decay on all parameters.
    """

    name: ClassVar[str]
    space: ClassVar[Mapping[str, Domain]] = {
        "lr": Rate(1e-3, 0.2),
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
        """Yield the losses of one epoch; the loop takes one gradient step per loss.

        Args:
            model: the model that unlearns, in train mode.
            teacher: the model before unlearning, frozen, in eval mode.
            data: forget and retain batches.
            epoch: 0-based.
        """

    @abstractmethod
    def cost(self, forget: int, retain: int) -> float:
        """Return the examples passed forward and backward; a forward pass alone counts a third."""

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of a 0-based epoch; constant by default."""
        del epoch
        return self.lr

    def optimizer(
        self, model: nn.Module, task: UnlearningTask, **kind: bool
    ) -> torch.optim.Optimizer:
        """Return the optimizer of a model: of the family of the original's, without any step."""
        family = "sgd" if task.recipe is None else task.recipe.optimizer
        return new_optimizer(family, model, self.lr, self.momentum, self.weight_decay, **kind)

    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        """Prepare the model in place before the first step; does nothing by default.

        Returns:
            Gradient scale per parameter name. A weight with scale 0 is frozen bit for bit.
        """
        del student, task, runtime
        return {}

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return the unlearned model: a new model, in eval mode.

        Raises:
            PlanError: the forget set or the retain set is empty.
            DivergedError: a loss or a weight is not finite.
        """
        check_task(task, self.name)
        teacher = copy.deepcopy(model).to(runtime.device).eval().requires_grad_(False)
        student = copy.deepcopy(model).to(runtime.device).requires_grad_(True)
        optimizer = self.optimizer(student, task)
        prepared = self.prepare(student, task, runtime / "mask").items()
        scales = [(student.get_parameter(name), scale) for name, scale in prepared]
        frozen = [(p, s == 0, p[s == 0].detach()) for p, s in scales if bool((s == 0).any())]
        forward, teach = (_in_precision(net, task.recipe) for net in (student, teacher))
        for epoch in runtime.epochs(self.epochs, model=student, optimizer=optimizer):
            set_rate(optimizer, self.learning_rate(epoch))
            student.train()
            total = torch.zeros((), device=runtime.device)
            data = EpochData(task, runtime, epoch, self.batch_size)
            place = explained(self.name, self.batch_size)
            with (runtime.seed / epoch / "dropout").torch(), place:
                for loss in self.losses(forward, teach, data, epoch):
                    optimizer.zero_grad()
                    loss.backward()
                    for parameter, scale in scales:
                        _scale(parameter, scale)
                    optimizer.step()
                    for weights in frozen:
                        restore_frozen(*weights)
                    total += loss.detach()
            _check_loss(total, self, epoch)
        check_finite(student, self.name)
        return student.eval()


def _in_precision(model: nn.Module, recipe: Recipe | None) -> nn.Module:
    """Return the model with the forward pass of the recipe, in the recipe's precision."""
    return model if recipe is None else recipe.forward(model)


def check_task(task: UnlearningTask, name: str) -> None:
    """Raise PlanError if one of the two sets is empty."""
    for part, data in (("forget", task.forget), ("retain", task.retain)):
        if not len(data):
            raise PlanError(f"{name}: the {part} set is empty; at least one example is needed.")


def concat_sets(task: UnlearningTask, labels: Tensor) -> LabeledData:
    """Return the forget set, with these labels [N_F], and the retain set as one data set."""
    forget, retain = task.forget, task.retain
    return LabeledData(
        x=torch.cat([forget.x, retain.x]),
        y=torch.cat([labels, retain.y]),
        ids=np.concatenate([forget.ids, retain.ids]),
        num_classes=max(forget.num_classes, retain.num_classes, int(labels.max()) + 1),
    )


def _scale(parameter: nn.Parameter, by: Tensor) -> None:
    """Multiply the gradient of a parameter, if it has one."""
    if parameter.grad is not None:
        parameter.grad *= by


@torch.no_grad()
def restore_frozen(parameter: nn.Parameter, frozen: Tensor, values: Tensor) -> None:
    """Restore the values of the frozen weights."""
    parameter[frozen] = values


def _check_loss(total: Tensor, unlearner: GradientUnlearner, epoch: int) -> None:
    """Raise DivergedError unless the epoch's losses are finite."""
    if not math.isfinite(total.item()):
        raise DivergedError(
            f"{unlearner.name} reached a loss of {total.item()} in epoch {epoch}. "
            f"Lower lr, which is {unlearner.lr}."
        )
