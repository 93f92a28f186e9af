"""Given weights: pretrained originals, and the weights that training starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from rum_ray.data.bundle import Indices, LabeledData, complement
from rum_ray.jobs.context import Context
from rum_ray.jobs.train import TrainModel, weights
from rum_ray.models.checkpoint import Checkpoint, file_digest, read
from rum_ray.resume import initial_key
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.training.initial import KEY, InitialWeights, read_initial
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe

MEASURED = 5_000
"""Largest number of examples of D, and of T, on which a given original is measured."""
CHANCE = 2.0
"""A share of right predictions below this many times that of the largest class is near chance."""


def weights_digest(path: str, key: str = "recipe.weights") -> str:
    """Return the SHA-256 of a weights file, which represents its content in keys.

    Raises:
        DataError: the file cannot be read.
    """
    return file_digest(path, key)


def read_weights(
    path: str, recipe: Recipe, data: LabeledData, key: str = "recipe.weights"
) -> nn.Module:
    """Return the recipe's model with the weights of a file, in eval mode.

    Args:
        path: the file: see `rum_ray.models.checkpoint.read`.
        recipe: names the model.
        data: sets the shapes of inputs and logits.
        key: key of the experiment file that names the file, for messages.

    Raises:
        DataError: the file is damaged, does not match the model, or has weights that are not
            finite.
        UnsafeError: reading the file could run code or exhaust memory.
    """
    return load_into(recipe.build(data, Seed(0)), read(path, key), recipe)


def load_into(model: nn.Module, given: Checkpoint, recipe: Recipe) -> nn.Module:
    """Return a model with given weights, in eval mode; raise DataError if they do not fit."""
    state = given.fit(model.state_dict(), f"model '{recipe.model}'")
    model.load_state_dict(state, strict=False)
    return model.eval()


@dataclass(frozen=True)
class GivenOriginal:
    """The accuracy of a given original, as it was read.

    Attributes:
        train: share of right predictions on D.
        test: the same on T; NaN without T.
        measured: number of examples of D that were measured.
        total: number of examples of D.
        classes: number of classes.
        chance: share of the largest class in D.
        normalize: the recipe's normalisation in words.
    """

    train: float
    test: float
    measured: int
    total: int
    classes: int
    chance: float
    normalize: str

    @property
    def is_near_chance(self) -> bool:
        """True if the model hardly knows D: below twice the share of the largest class.

        With that share above one third, half of the way to 1 counts instead.
        """
        return self.train < min(CHANCE * self.chance, (1 + self.chance) / 2)

    @property
    def lines(self) -> list[str]:
        """The accuracy in one sentence, and a second one near chance."""
        part = "" if self.measured == self.total else f" ({self.measured:,} of them measured)"
        test = "" if np.isnan(self.test) else f" and {self.test:.1%} of the test data"
        lines = [
            f"The given original classifies {self.train:.1%} of the {self.total:,} training "
            f"examples{part}{test} right."
        ]
        if self.is_near_chance:
            lines.append(
                f"Warning: that is near chance level ({self.chance:.1%}). Is the normalisation "
                f"that of its training (recipe.normalize is {self.normalize}), and is the order of "
                f"the {self.classes} classes the same?"
            )
        return lines


def measure_original(model: nn.Module, context: Context, recipe: Recipe) -> GivenOriginal:
    """Return the accuracy of a given original on D and T, on at most 5,000 examples of each."""
    train, test = context.bundle.train, context.bundle.test
    some, others = _some(train, "train"), _some(test, "test")
    model = model.to(context.device)
    largest = int(np.bincount(train.y.numpy()).max()) / len(train)
    given = "mean and std of the data" if recipe.normalize is None else str(recipe.normalize)
    counts = len(some), len(train), train.num_classes
    right = _right(model, some), _right(model, others)
    return GivenOriginal(*right, *counts, largest, given)


def measure_reference(model: nn.Module, context: Context, forget: Indices) -> list[str]:
    """Return the accuracy of a given reference on the forget set, on the rest of D, and on T."""
    train = context.bundle.train
    retained = train.take(complement(forget, len(train)))
    parts = {"forget": train.take(forget), "train": retained, "test": context.bundle.test}
    model = model.to(context.device)
    forgotten, learned, unseen = (_right(model, _some(part, n)) for n, part in parts.items())
    lines = [
        f"The first given reference classifies {forgotten:.1%} of the {len(forget):,} forgotten "
        f"examples, {learned:.1%} of the other training examples and {unseen:.1%} of the test data "
        "right."
    ]
    if forgotten >= learned:
        lines.append(
            "Warning: a reference should not know the forgotten examples better than those it "
            "learned. Are the rows of forget.ids in the order of its training data?"
        )
    return lines


def _right(model: nn.Module, data: LabeledData) -> float:
    """Return the share of right predictions; NaN without data."""
    if not len(data):
        return float("nan")
    return float((predict(model, data).argmax(axis=1) == data.y.numpy()).mean())


def _some(data: LabeledData, name: str) -> LabeledData:
    """Return the data, or a random part of them."""
    if len(data) <= MEASURED:
        return data
    return data.take(np.sort((Seed(0) / "original" / name).choice(len(data), MEASURED)))


def import_weights(
    files: Mapping[str, Sequence[TrainModel]], context: Context, key: str = "recipe.weights"
) -> list[str]:
    """Save the weights of each file as the result of its jobs.

    Args:
        files: jobs with the same result, by path.
        context: the data and the store.
        key: key of the experiment file that names the files, for messages.

    Returns:
        What was done to read the first file, and the accuracy of its model, one sentence each.
    """
    lines: list[str] = []
    for path, jobs in files.items():
        recipe, forget = jobs[0].recipe, jobs[0].forget
        given, empty = read(path, key), recipe.build(context.bundle.train, Seed(0))
        notes = given.notes(empty.state_dict())
        model = load_into(empty, given, recipe)
        artifact = Artifact(weights(model))
        for job in jobs:
            context.store.save(job.key(context), artifact, {"file": path})
        if not lines and forget is None:
            lines = [*notes, *measure_original(model, context, recipe).lines]
        elif not lines and forget is not None:
            lines = [*notes, *measure_reference(model, context, forget)]
    return lines


def check_initial(recipe: Recipe, data: LabeledData) -> list[str]:
    """Return what is done to read the initial weights of a recipe, one sentence each.

    Raises:
        DataError: the file is damaged or has changed, or does not match the model.
        UnsafeError: reading the file could run code or exhaust memory.
    """
    if not isinstance(recipe.init, InitialWeights):
        return []
    read_initial(recipe.init)
    given, expected = read(recipe.init.path, KEY), recipe.build(data, Seed(0)).state_dict()
    given.fit(expected, f"model '{recipe.model}'", head=data.num_classes)
    return given.notes(expected, data.num_classes)


def import_initial(recipe: Recipe, context: Context) -> list[str]:
    """Save the initial weights of a recipe in the store, where workers read them.

    Returns:
        What was done to read them, one sentence each; nothing if the store has them.
    """
    initial = recipe.init
    if not isinstance(initial, InitialWeights) or context.store.has(initial_key(initial)):
        return []
    notes = check_initial(recipe, context.bundle.train)
    state = read(initial.path, KEY).state.items()
    arrays = {n: (v.float() if v.is_floating_point() else v).numpy() for n, v in state}
    context.store.save(initial_key(initial), Artifact(arrays), {"file": initial.path})
    return notes
