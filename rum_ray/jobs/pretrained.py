"""Pretrained originals: weights from a safetensors file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rum_ray.data.bundle import LabeledData
from rum_ray.errors import DataError
from rum_ray.jobs.context import Context
from rum_ray.jobs.train import TrainModel, weights
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.training.recipe import Recipe


def weights_digest(path: str) -> str:
    """Return the SHA-256 of a weights file, which represents its content in keys.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"recipe.weights: cannot read {path}: {error.strerror}.") from error


def read_weights(path: str, recipe: Recipe, data: LabeledData) -> nn.Module:
    """Return the recipe's model with the weights of a safetensors file.

    Args:
        path: the file, with the names and shapes of the model's `state_dict`.
        recipe: names the model.
        data: sets the shapes of inputs and logits.

    Raises:
        DataError: the file is damaged, does not match the model, or has weights that are not
            finite.
    """
    model = recipe.build(data, Seed(0))
    try:
        state = load_file(Path(path).expanduser())
    except SafetensorError as error:
        raise DataError(f"recipe.weights: {path} is not a safetensors file: {error}.") from error
    except OSError as error:
        raise DataError(f"recipe.weights: cannot read {path}: {error}.") from error
    expected = model.state_dict()
    for name in sorted(expected.keys() ^ state.keys()):
        lacks = path if name in expected else f"model '{recipe.model}'"
        raise DataError(
            f"recipe.weights: {lacks} has no '{name}'. File and model must have the same names."
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            model_name = f"model '{recipe.model}' with {data.num_classes} classes"
            raise DataError(
                f"recipe.weights: '{name}' has shape {list(value.shape)} in {path}, but "
                f"{list(expected[name].shape)} in {model_name}."
            )
        if not bool(value.isfinite().all()):
            raise DataError(f"recipe.weights: '{name}' in {path} has values that are not finite.")
    model.load_state_dict(state)
    return model


def import_weights(path: str | None, jobs: Sequence[TrainModel], context: Context) -> None:
    """Save the weights of a file as the result of each job; without a path, do nothing."""
    if path is None or not jobs:
        return
    artifact = Artifact(weights(read_weights(path, jobs[0].recipe, context.bundle.train)))
    for job in jobs:
        context.store.save(job.key(context), artifact, {"file": path})
