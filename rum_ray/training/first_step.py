"""The first step of a training on the real shapes, and one clear error if it is not possible."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rum_ray.data.batches import crop_and_flip, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import ConfigError
from rum_ray.seeding import Seed

if TYPE_CHECKING:
    from rum_ray.training.recipe import Recipe

_KINDS = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError)
"""Errors of a network that does not accept its inputs."""
_ONE_VALUE = "more than 1 value per channel"
"""Part of PyTorch's error about batch normalisation of a single value."""
_RANDOM_ORDER = "does not have a deterministic implementation"
"""Part of PyTorch's error about an operation whose bits vary on a GPU."""


def smallest_batch(total: int, size: int) -> int:
    """Return the number of examples in the smallest batch of an epoch over `total` examples."""
    return total % size or min(total, size)


def check_first_step(recipe: "Recipe", data: LabeledData) -> nn.Module:
    """Return a new model in eval mode, after a first step with a copy of it on two examples.

    Args:
        recipe: names the model and its precision.
        data: has the real shapes; at least one example.

    Raises:
        ConfigError: the model does not accept the data, or returns no logits for their classes.
    """
    if recipe.augment and data.x.ndim != 4:
        raise ConfigError("recipe.augment: only images can be augmented. Set it to false.")
    model = recipe.build(data, Seed(0))
    try:
        _step(copy.deepcopy(model), recipe, data, 2)
        with torch.inference_mode():
            logits = model.eval()(to_float(data.x[:2]))
    except _KINDS as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"model '{recipe.model}' does not accept inputs of shape {data.shape}: {reason}. "
            f"{_remedy(data)}"
        ) from error
    if tuple(logits.shape) != (len(logits), data.num_classes):
        raise ConfigError(
            f"model '{recipe.model}' returns {tuple(logits.shape[1:])} logits per example, but the "
            f"data have {data.num_classes} classes."
        )
    return model


def check_last_batches(recipe: "Recipe", data: LabeledData, totals: Mapping[str, int]) -> None:
    """Raise ConfigError if an epoch has a last batch of one example, and the model refuses that.

    Args:
        recipe: names the model and its batch size.
        data: has the real shapes.
        totals: number of examples by training set, such as {"the training set": 1000}.
    """
    ones = [name for name, n in totals.items() if n and smallest_batch(n, recipe.batch_size) == 1]
    if ones and not accepts_one(recipe.build(data, Seed(0)), recipe, data):
        raise ConfigError(_one_example(recipe, ones[0], totals[ones[0]]))


def accepts_one(model: nn.Module, recipe: "Recipe", data: LabeledData) -> bool:
    """Return False if a batch of one example is too small for the model in train mode."""
    try:
        _step(copy.deepcopy(model), recipe, data, 1)
    except _KINDS as error:
        if _ONE_VALUE not in str(error):
            raise
        return False
    return True


def _step(model: nn.Module, recipe: "Recipe", data: LabeledData, size: int) -> Tensor:
    """Return the logits of a step in train mode on the first examples, repeated up to `size`."""
    rows = torch.arange(size) % len(data)
    x = data.x[rows]
    if recipe.augment:
        x = crop_and_flip(x, torch.zeros(size, dtype=torch.int64))
    with Seed(0).torch():
        logits = recipe.forward(model.train())(to_float(x))
        if not isinstance(logits, Tensor):
            raise TypeError(f"it returns a {type(logits).__name__} in train mode, and no tensor")
        if logits.ndim == 2 and logits.shape[1] == data.num_classes:
            F.cross_entropy(logits, data.y[rows]).backward()
    return logits.detach()


def _remedy(data: LabeledData) -> str:
    """Return the last sentence of the error about inputs."""
    if data.x.ndim != 4:
        return "Choose another model."
    channels, height, width = data.shape
    return (
        f"The images have {channels} channels and {height} x {width} pixels; choose another model, "
        "or other images."
    )


def _one_example(recipe: "Recipe", name: str, total: int) -> str:
    """Return the error about a last batch of one example."""
    size = recipe.batch_size
    other = next(n for n in range(size + 1, size + total + 3) if smallest_batch(total, n) > 1)
    return (
        f"recipe.batch_size: the last batch of {name} ({total:,} examples) has one example with "
        f"{size}, and model '{recipe.model}' has batch normalisation, which one example leaves "
        f"without variance. Set another size, such as {other}."
    )


@contextmanager
def tried(recipe: "Recipe", data: LabeledData) -> Iterator[None]:
    """Explain the error of a library in a training, if a first step alone has it, too.

    Raises:
        ConfigError: the model does not accept the data.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError):
        check_first_step(recipe, data)
        raise


@contextmanager
def explained(what: str, batch_size: int) -> Iterator[None]:
    """Turn PyTorch's errors about a batch of one example, and about bits, into a ConfigError.

    Args:
        what: name of the training or unlearner.
        batch_size: number of examples per batch.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if _RANDOM_ORDER in str(error):
            raise ConfigError(
                f"{what}: an operation of the model varies from run to run on this device "
                f"({str(error).partition(_RANDOM_ORDER)[0].strip()}). Choose a model without it, "
                "or run on CPUs."
            ) from error
        if _ONE_VALUE not in str(error):
            raise
        raise ConfigError(
            f"{what}: a batch has one example, which leaves batch normalisation without variance. "
            f"Set another batch_size (now {batch_size}); a set of one example needs larger images, "
            "a model without batch normalisation, or an unlearner that mixes both sets."
        ) from error
