"""The recipe: model, optimizer and schedule of one training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.digest import SPARSE
from rum_ray.errors import ConfigError, DivergedError
from rum_ray.models import build
from rum_ray.seeding import Seed
from rum_ray.training.first_step import explained, tried
from rum_ray.training.initial import InitialWeights, load_initial
from rum_ray.training.normalization import STATISTICS, Normalization
from rum_ray.training.optimizers import FAMILIES, Family, check_rate, new_optimizer, set_rate
from rum_ray.training.precision import Mixed
from rum_ray.training.runtime import Runtime, Stateful, check_finite

Observe: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]
"""Callback with the rows [B], logits [B, K] and labels [B] of each training batch, detached."""

Probe: TypeAlias = Callable[[nn.Module, Tensor, Tensor, Tensor], None]
"""Callback before each step: the model in eval mode, rows [B], inputs [B, ...] and labels [B]."""


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent on the cross-entropy, from new or given initial weights.

    Attributes:
        model: a key of `MODELS`, `torchvision:` and the name of a classification model, such as
            `torchvision:resnet18`, or `package.module:function`.
        epochs: passes over the data.
        lr: learning rate of the first epoch, or after the warm-up.
        batch_size: examples per step; the last batch of an epoch may be smaller.
        momentum: momentum of SGD, without Nesterov; beta_1 of AdamW.
        weight_decay: weight decay of all parameters; AdamW's is apart from the gradient.
        schedule: "cosine" decays the learning rate towards 0 once per epoch; "constant" keeps it.
        augment: crop and mirror images at random.
        precision: "float32", or "bfloat16" for automatic mixed precision.
        threads: threads of PyTorch; part of the recipe, because they change the last bits.
        weights: a file with the `state_dict` of a pretrained original model: `.pt`, `.pth` or
            `.safetensors`. The original is then loaded; the other keys describe its training and
            are used to retrain. `{seed}` in the path stands for a reported seed: a file per seed.
        optimizer: "sgd", or "adamw" with beta_2 0.999. Unlearners use the same one.
        warmup: share of the steps, in [0, 1), in which the learning rate rises linearly to `lr`.
        label_smoothing: share of each label, in [0, 1), that is spread over all classes.
        normalize: normalisation of inputs in [0, 1]: "imagenet", "none", or mean and std. The
            default is mean and std of the data, for models of this package and of torchvision;
            other models get their inputs as they are.
        init: a file of weights that training starts from, as in `weights`: those that the original
            was fine-tuned from. A head for other classes starts from new weights.

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
    optimizer: Family = field(default="sgd", metadata={"sparse": "sgd"})
    warmup: float = field(default=0.0, metadata={"sparse": 0.0})
    label_smoothing: float = field(default=0.0, metadata={"sparse": 0.0})
    normalize: Literal["imagenet", "none"] | Normalization | None = field(
        default=None, metadata=SPARSE
    )
    init: str | InitialWeights | None = field(default=None, metadata=SPARSE)

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "lr", "batch_size", "threads")
        check_not_negative(self, "momentum", "weight_decay")
        check_choice(self, "schedule", "cosine", "constant")
        check_choice(self, "precision", "float32", "bfloat16")
        check_choice(self, "optimizer", *FAMILIES)
        check_share(self, "warmup", "label_smoothing")
        check_rate(self.optimizer, self.lr, self.momentum)
        if isinstance(self.init, str):
            object.__setattr__(self, "init", InitialWeights.of(self.init))

    def build(self, data: LabeledData, seed: Seed) -> nn.Module:
        """Return the model for the shape and classes of `data`, with weights drawn from `seed`.

        For images, the memory format of the weights is channels-last.
        """
        given = self._statistics(data)
        mean, std = (data.mean, data.std) if given is None else (given.mean, given.std)
        with seed.torch():
            model = build(
                self.model, data.shape, data.num_classes, mean, std, every=given is not None
            )
        if data.x.ndim == 4:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def _statistics(self, data: LabeledData) -> Normalization | None:
        """Return the normalisation that `normalize` names; None for that of the data."""
        given = self.normalize
        given = STATISTICS[given] if isinstance(given, str) else given
        if given is not None and data.x.ndim == 4 and len(given.mean) not in (1, data.shape[0]):
            raise ConfigError(
                f"recipe.normalize: it has {len(given.mean)} channels, and the images have "
                f"{data.shape[0]}. Give mean and std for them."
            )
        return given

    def forward(self, model: nn.Module) -> nn.Module:
        """Return the model wrapped for the precision of this recipe."""
        return Mixed(model) if self.precision == "bfloat16" else model

    def learning_rate(self, epoch: int, done: float = 1.0) -> float:
        """Return the learning rate of a step.

        Args:
            epoch: the first epoch is 0.
            done: share of the epoch's steps that are done with this one; only warm-up depends on
                it.
        """
        share = (epoch + done) / self.epochs
        if share < self.warmup:
            return self.lr * share / self.warmup
        if self.schedule == "constant":
            return self.lr
        if not self.warmup:
            return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        decayed = max(0.0, epoch / self.epochs - self.warmup) / (1 - self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * decayed))

    def new_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer of a model, set to the learning rate `lr`."""
        return new_optimizer(self.optimizer, model, self.lr, self.momentum, self.weight_decay)

    def loss(self, logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """Return the cross-entropy of logits [B, K] and labels [B], with label smoothing."""
        return F.cross_entropy(logits, y, reduction=reduction, label_smoothing=self.label_smoothing)

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

        Initial weights depend on `runtime.seed / "init"` and `init` of the recipe alone, so an
        original and a retrained model with the same seed have the same initial weights.

        Args:
            data: the training set.
            runtime: provides the seed, the device and checkpoints.
            observe: callback for every training batch; its state, if any, is in the checkpoints.
            probe: callback before every step, with its state likewise; it must not change the
                model.
            rows: rows of `data` to train on; all by default.
            init: initial weights come from `init / "init"` instead.

        Raises:
            ConfigError: the model does not accept the data.
            DivergedError: the loss or a weight is not finite.
        """
        with tried(self, data):
            model = self.build(data, (init or runtime.seed) / "init")
            if isinstance(self.init, InitialWeights):
                load_initial(model, runtime.weights(self.init), data.num_classes)
            model = model.to(runtime.device)
            optimizer = self.new_optimizer(model)
            batches = Batches(data, self.batch_size, runtime.device, self.augment, rows)
            state: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
            for name, callback in (("observe", observe), ("probe", probe)):
                if hasattr(callback, "state_dict"):
                    state[name] = cast(Stateful, callback)
            for epoch in runtime.epochs(self.epochs, **state):
                set_rate(optimizer, self.learning_rate(epoch))
                self.epoch(model, optimizer, batches, runtime.seed / epoch, observe, probe, epoch)
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
        number: int | None = None,
    ) -> float:
        """Train for one epoch and return the sum of the losses of its batches.

        Args:
            model: to train.
            optimizer: takes the steps.
            batches: the training set.
            seed: of the epoch.
            observe: as for `fit`.
            probe: as for `fit`.
            number: of the epoch, for the warm-up; None for none.

        Raises:
            DivergedError: the sum is not finite.
        """
        model.train()
        forward = self.forward(model)
        total = torch.zeros((), device=batches.device)
        with (seed / "dropout").torch(), explained(f"training of {self.model}", self.batch_size):
            for step, (rows, x, y) in enumerate(batches.epoch(seed), 1):
                if self.warmup and number is not None:
                    set_rate(optimizer, self.learning_rate(number, step / len(batches)))
                if probe is not None:
                    probe(model.eval(), rows, x, y)
                    model.train()
                logits = forward(x)
                loss = self.loss(logits, y)
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


def check_share(value: object, *fields: str) -> None:
    """Raise ValueError unless these fields are in [0, 1)."""
    for name in fields:
        if not 0 <= getattr(value, name) < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(value, name)}")


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
