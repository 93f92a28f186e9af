"""The recipe: model, optimizer and schedule of one training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.errors import DivergedError
from rum_ray.models import build
from rum_ray.seeding import Seed
from rum_ray.training.runtime import Runtime, Stateful, check_finite

Observe: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]
"""Callback with the rows [B], logits [B, K] and labels [B] of each training batch, detached."""

Probe: TypeAlias = Callable[[nn.Module, Tensor, Tensor, Tensor], None]
"""Callback before each step: the model in eval mode, rows [B], inputs [B, ...] and labels [B]."""


class Mixed(nn.Module):
    """Mixed precision: a model under bfloat16 autocast, with float32 logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] of inputs in [0, 1]."""
        with torch.autocast(x.device.type, torch.bfloat16):
            logits: Tensor = self.model(x)
        return logits.float()


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent on the cross-entropy, from new initial weights.

    Attributes:
        model: a key of `MODELS`, or `package.module:function`.
        epochs: passes over the data.
        lr: learning rate of the first epoch.
        batch_size: examples per step; the last batch of an epoch may be smaller.
        momentum: momentum of SGD, without Nesterov.
        weight_decay: weight decay of all parameters.
        schedule: "cosine" decays the learning rate towards 0 once per epoch; "constant" keeps it.
        augment: crop and mirror images at random.
        precision: "float32", or "bfloat16" for automatic mixed precision.
        threads: threads of PyTorch; part of the recipe, because they change the last bits.
        weights: a safetensors file with the `state_dict` of a pretrained original model. The
            original is then loaded; the other keys describe its training and are used to retrain.

    Raises:
        ValueError: a value is out of range.

    Example:
        >>> from rum_ray.data import load
        >>> from rum_ray.seeding import Seed
        >>> from rum_ray.training import LocalRuntime
        >>> recipe = Recipe("mlp", epochs=2, lr=0.1, batch_size=64)
        >>> data = load("digits").train.take(range(256))
        >>> model = recipe.fit(data, LocalRuntime(Seed(0)))
        >>> model(data.x).shape
        torch.Size([256, 10])
        >>> [round(recipe.learning_rate(epoch), 3) for epoch in range(2)]
        [0.1, 0.05]
    """

    model: str
    epochs: int = 30
    lr: float = 0.1
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1
    weights: str | None = None

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "lr", "batch_size", "threads")
        check_not_negative(self, "momentum", "weight_decay")
        check_choice(self, "schedule", "cosine", "constant")
        check_choice(self, "precision", "float32", "bfloat16")

    def build(self, data: LabeledData, seed: Seed) -> nn.Module:
        """Return the model for the shape and classes of `data`, with weights drawn from `seed`.

        For images, the memory format of the weights is channels-last.
        """
        with seed.torch():
            model = build(self.model, data.shape, data.num_classes, data.mean, data.std)
        if data.x.ndim == 4:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def forward(self, model: nn.Module) -> nn.Module:
        """Return the model wrapped for the precision of this recipe."""
        return Mixed(model) if self.precision == "bfloat16" else model

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch; the first epoch is 0."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model, set to the learning rate of the first epoch."""
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def fit(
        self,
        data: LabeledData,
        runtime: Runtime,
        observe: Observe | None = None,
        probe: Probe | None = None,
        rows: Indices | None = None,
        init: Seed | None = None,
    ) -> nn.Module:
        """Return a model trained on `data`, in eval mode.

        Initial weights depend on `runtime.seed / "init"` alone, so an original and a retrained
        model with the same seed have the same initial weights.

        Args:
            data: the training set.
            runtime: provides the seed, the device and checkpoints.
            observe: callback for every training batch; its state, if any, is in the checkpoints.
            probe: callback before every step, with its state likewise; it must not change the
                model.
            rows: rows of `data` to train on; all by default.
            init: initial weights come from `init / "init"` instead.

        Raises:
            DivergedError: the loss or a weight is not finite.
        """
        model = self.build(data, (init or runtime.seed) / "init").to(runtime.device)
        optimizer = self.optimizer(model)
        batches = Batches(data, self.batch_size, runtime.device, self.augment, rows)
        state: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
        for name, callback in (("observe", observe), ("probe", probe)):
            if hasattr(callback, "state_dict"):
                state[name] = cast(Stateful, callback)
        for epoch in runtime.epochs(self.epochs, **state):
            optimizer.param_groups[0]["lr"] = self.learning_rate(epoch)
            self.epoch(model, optimizer, batches, runtime.seed / epoch, observe, probe)
        check_finite(model, f"training of {self.model}")
        return model.eval()

    def epoch(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        seed: Seed,
        observe: Observe | None = None,
        probe: Probe | None = None,
    ) -> float:
        """Train for one epoch and return the sum of the losses of its batches.

        Raises:
            DivergedError: the sum is not finite.
        """
        model.train()
        forward = self.forward(model)
        total = torch.zeros((), device=batches.device)
        with (seed / "dropout").torch():
            for rows, x, y in batches.epoch(seed):
                if probe is not None:
                    probe(model.eval(), rows, x, y)
                    model.train()
                logits = forward(x)
                loss = F.cross_entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
                if observe is not None:
                    observe(rows, logits.detach(), y)
        summed = total.item()
        if not math.isfinite(summed):
            raise DivergedError(
                f"training of {self.model} reached a loss of {summed} in epoch {seed.path[-1]}. "
                f"Lower lr (now {self.lr})."
            )
        return summed


def check_positive(value: object, *fields: str) -> None:
    """Raise ValueError unless these fields are above 0."""
    for name in fields:
        if not getattr(value, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(value, name)}")


def check_not_negative(value: object, *fields: str) -> None:
    """Raise ValueError if one of these fields is below 0."""
    for name in fields:
        if not getattr(value, name) >= 0:
            raise ValueError(f"{name} must not be negative, got {getattr(value, name)}")


def check_fraction(value: object, *fields: str) -> None:
    """Raise ValueError unless these fields are in [0, 1]."""
    for name in fields:
        if not 0 <= getattr(value, name) <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {getattr(value, name)}")


def check_choice(value: object, field: str, *options: str) -> None:
    """Raise ValueError unless this field is one of the options."""
    if getattr(value, field) not in options:
        raise ValueError(f"{field} must be {' or '.join(options)}, got '{getattr(value, field)}'")
