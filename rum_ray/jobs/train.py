"""Training jobs: original, retrained and leave-k-out models."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from rum_ray.data.bundle import Indices, complement
from rum_ray.errors import DivergedError, StoreError
from rum_ray.jobs.context import Context
from rum_ray.resume import StoredRuntime
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.fused import fit_together
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import check_finite, set_threads


@dataclass(frozen=True, eq=False)
class TrainModel:
    """Train on D, or on D without a forget set.

    Attributes:
        recipe: how.
        seed: initial weights come from `seed / "init"`.
        forget: rows that are left out; None trains on all of D and records learning events.
        weights: the SHA-256 of a file that has the model already; see `rum_ray.jobs.pretrained`.
    """

    recipe: Recipe
    seed: Seed
    forget: Indices | None = None
    weights: str | None = None

    def key(self, context: Context) -> Key:
        """Return the key of the model."""
        return Key("model", {"job": self, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the weights, and the sums of the learning events if it saw all of D."""
        train = context.bundle.train
        if self.weights is not None:
            raise StoreError("the weights of the original are lost; run the same command again.")
        if self.forget is not None:
            retain = complement(self.forget, len(train))
            return Artifact(weights(self.recipe.fit(train, runtime, rows=retain)))
        events = LearningEvents(len(train))
        model = self.recipe.fit(train, runtime, observe=events)
        scores = {f"events/{name}": s.values for name, s in events.scores().items()}
        return Artifact({**weights(model), **scores})

    def load(self, context: Context) -> nn.Module:
        """Return the model, made if need be."""
        return load_model(self.recipe, context, context.get_or_compute(self))


def load_model(recipe: Recipe, context: Context, artifact: Artifact) -> nn.Module:
    """Return a model with the weights of an artifact, in eval mode, on the device."""
    model = recipe.build(context.bundle.train, Seed(0))
    state = {name: torch.from_numpy(array.copy()) for name, array in _state(artifact).items()}
    model.load_state_dict(state)
    return model.to(context.device).eval()


def format_weights(artifact: Artifact) -> bytes:
    """Return an artifact's weights as a plain safetensors file, for other tools."""
    return save(_state(artifact))


def _state(artifact: Artifact) -> dict[str, NDArray[Any]]:
    """Return the model's state that an artifact has."""
    prefix = "weights/"
    arrays = artifact.arrays.items()
    return {name.removeprefix(prefix): a for name, a in arrays if name.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class TrainPoolModel:
    """Train one leave-k-out model on a random share of D, and note what it gets right.

    Attributes:
        recipe: how.
        seed: of this model; its share of D is drawn from it.
        fraction: the share, in (0, 1).
        keep: whether the weights are kept, for attacks that ask the pool again.
        confidences: whether the probability of each example's label is kept.
        fused: whether it is trained as one of a batch of models, which changes its bits; with
            which others, or how many, does not.
    """

    recipe: Recipe
    seed: Seed
    fraction: float
    keep: bool = False
    confidences: bool = False
    fused: bool = False

    def key(self, context: Context) -> Key:
        """Return the key of the record."""
        return Key("pool", {"job": self, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the record of the model, trained by itself."""
        train, rows = context.bundle.train, self.included(context)
        if self.fused:
            (model,) = fit_together(self.recipe, train, [rows], [self.seed], context.device)
            return self.record(model, context)
        return self.record(self.recipe.fit(train, runtime, rows=rows), context)

    def included(self, context: Context) -> Indices:
        """Return the rows of D that it learns."""
        return included_rows(len(context.bundle.train), self.fraction, self.seed)

    def record(self, model: nn.Module, context: Context) -> Artifact:
        """Return two packed bit vectors [N], which examples were included and which are right.

        Beside them lie the weights, and float16 probabilities [N] of the labels, if they are kept.

        Raises:
            DivergedError: a weight is not finite.
        """
        check_finite(model, f"training of {self.recipe.model}")
        train = context.bundle.train
        probabilities, labels = predict(model, train), train.y.numpy()
        right = probabilities.argmax(axis=1) == labels
        included = np.zeros(len(train), dtype=bool)
        included[self.included(context)] = True
        record = {"included": np.packbits(included), "correct": np.packbits(right)}
        if self.confidences:
            confidences = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
            record["confidences"] = confidences.astype(np.float16)
        return Artifact({**record, **(weights(model) if self.keep else {})})

    def load(self, context: Context) -> nn.Module:
        """Return the model, made if need be; its weights must be kept."""
        return load_model(self.recipe, context, context.get_or_compute(self))


MAX_TOGETHER = 8
"""Fused models in one batch; more gain nothing."""


def is_fused(job: object) -> bool:
    """Return whether a job is one that `train_together` takes."""
    return isinstance(job, TrainPoolModel) and job.fused


def train_together(context: Context, jobs: Sequence[TrainPoolModel]) -> list[DivergedError | None]:
    """Make fused models of one recipe as one batch; return why each failed, if it did.

    No state is kept in between: one that is killed starts over.
    """
    missing = context.missing(jobs)
    set_threads(jobs[0].recipe.threads)
    began = time.monotonic()
    rows, seeds = [job.included(context) for job in missing], [job.seed for job in missing]
    recipe, train = jobs[0].recipe, context.bundle.train
    models = fit_together(recipe, train, rows, seeds, context.device) if missing else []
    share = (time.monotonic() - began) / max(len(models), 1)
    failed: dict[TrainPoolModel, DivergedError] = {}
    for job, model in zip(missing, models, strict=True):
        began = time.monotonic()
        try:
            record = job.record(model, context)
        except DivergedError as error:
            failed[job] = error
        else:
            context.save(job, record, share + time.monotonic() - began)
    return [failed.get(job) for job in jobs]


def pool_bits(
    context: Context, jobs: Sequence[TrainPoolModel]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return included and correct [M, N] of finished pool models, in the order of the jobs."""
    count = len(context.bundle.train)
    included, correct = np.empty((2, len(jobs), count), dtype=bool)
    for number, job in enumerate(jobs):
        record = context.load(job).arrays
        included[number] = np.unpackbits(record["included"], count=count)
        correct[number] = np.unpackbits(record["correct"], count=count)
    return included, correct


def weights(model: nn.Module) -> Mapping[str, NDArray[Any]]:
    """Return a model's state as arrays."""
    return {f"weights/{k}": v.detach().cpu().numpy() for k, v in model.state_dict().items()}
