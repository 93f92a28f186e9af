"""Training jobs: original, retrained and leave-k-out models."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from rum_ray.data.bundle import Indices, complement
from rum_ray.digest import SPARSE
from rum_ray.errors import DivergedError, MissingError
from rum_ray.jobs.context import Context
from rum_ray.resume import StoredRuntime
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.scores.memorization import InOutCounts, PoolBits, PoolCounter, included_rows
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
        recipe: the training recipe.
        seed: the root of the random draws; initial weights come from `seed / "init"`.
        forget: rows left out; None trains on all of D and records learning events.
        weights: the SHA-256 of a file of pretrained weights; see `rum_ray.jobs.pretrained`.
        init: initial weights come from `init / "init"` instead, with the order of `seed`.
    """

    recipe: Recipe
    seed: Seed
    forget: Indices | None = None
    weights: str | None = None
    init: Seed | None = field(default=None, metadata=SPARSE)

    def key(self, context: Context) -> Key:
        """Return the key of the model."""
        return Key("model", {"job": self, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the weights; of a model trained on all of D, the learning events too."""
        train = context.bundle.train
        if self.weights is not None:
            key = "recipe.weights" if self.forget is None else "evaluate.retrained"
            raise MissingError(
                f"{key}: the given weights are not in the store. Run the same command again; it "
                "reads them from the file."
            )
        if self.forget is not None:
            retain = complement(self.forget, len(train))
            return Artifact(weights(self.recipe.fit(train, runtime, rows=retain, init=self.init)))
        events = LearningEvents(len(train))
        model = self.recipe.fit(train, runtime, observe=events)
        scores = {f"events/{name}": s.values for name, s in events.scores().items()}
        return Artifact({**weights(model), **scores})

    def load(self, context: Context) -> nn.Module:
        """Return the model, from the store or trained."""
        return load_model(self.recipe, context, context.get_or_compute(self))


def load_model(recipe: Recipe, context: Context, artifact: Artifact) -> nn.Module:
    """Return the recipe's model with the weights of an artifact, in eval mode, on the device."""
    model = recipe.build(context.bundle.train, Seed(0))
    state = {name: torch.from_numpy(array.copy()) for name, array in _state(artifact).items()}
    model.load_state_dict(state)
    return model.to(context.device).eval()


def format_weights(artifact: Artifact) -> bytes:
    """Return the weights of an artifact as the content of a safetensors file."""
    # safetensors writes the memory of an array as it is, whatever its order.
    return save({name: np.asarray(array, order="C") for name, array in _state(artifact).items()})


def _state(artifact: Artifact) -> dict[str, NDArray[Any]]:
    """Return the model's `state_dict` from an artifact, as arrays."""
    prefix = "weights/"
    arrays = artifact.arrays.items()
    return {name.removeprefix(prefix): a for name, a in arrays if name.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class TrainPoolModel:
    """Train one leave-k-out model on a random share of D, and record its correct predictions.

    Attributes:
        recipe: the training recipe.
        seed: the seed of this model; its share of D is drawn from it.
        fraction: the share, in (0, 1).
        keep: True saves the weights, for attacks that need more predictions of the pool.
        confidences: True saves the probability of each example's label.
        fused: True trains the model in a batch with other models. Results differ in the last bits
            from unbatched training, but not with batch size or composition.
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
        """Train the model alone and return its record."""
        train, rows = context.bundle.train, self.included(context)
        if self.fused:
            (model,) = fit_together(self.recipe, train, [rows], [self.seed], context.device)
            return self.record(model, context)
        return self.record(self.recipe.fit(train, runtime, rows=rows), context)

    def included(self, context: Context) -> Indices:
        """Return the rows of D that the model is trained on."""
        return included_rows(len(context.bundle.train), self.fraction, self.seed)

    def record(self, model: nn.Module, context: Context) -> Artifact:
        """Return two packed bit vectors [N]: the included examples, and the correct predictions.

        With `keep`, the record has the weights too; with `confidences`, the probabilities [N] of
        the labels in float16.

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
        """Return the model, from the store or trained; `keep` must be True."""
        return load_model(self.recipe, context, context.get_or_compute(self))


MAX_TOGETHER = 8
"""Most fused models per batch; larger batches are not faster."""


def is_fused(job: object) -> bool:
    """Return True if `train_together` takes the job."""
    return isinstance(job, TrainPoolModel) and job.fused


def train_together(context: Context, jobs: Sequence[TrainPoolModel]) -> list[DivergedError | None]:
    """Train fused models of one recipe in one batch; return the error of each, or None.

    There are no checkpoints: a batch that is killed starts over.
    """
    missing = context.missing(jobs)
    set_threads(jobs[0].recipe.threads)
    start = time.monotonic()
    rows, seeds = [job.included(context) for job in missing], [job.seed for job in missing]
    recipe, train = jobs[0].recipe, context.bundle.train
    models = fit_together(recipe, train, rows, seeds, context.device) if missing else []
    share = (time.monotonic() - start) / max(len(models), 1)
    failed: dict[TrainPoolModel, DivergedError] = {}
    for job, model in zip(missing, models, strict=True):
        start = time.monotonic()
        try:
            record = job.record(model, context)
        except DivergedError as error:
            failed[job] = error
        else:
            context.save(job, record, share + time.monotonic() - start)
    return [failed.get(job) for job in jobs]


def pool_counts(
    context: Context, jobs: Sequence[TrainPoolModel], groups: int = 1
) -> tuple[InOutCounts, ...]:
    """Return the counts of finished pool models, read one by one.

    Group g has the jobs at the places g, g + groups, and so on.
    """
    counter = PoolCounter(len(context.bundle.train), groups)
    for number, record in context.load_each(jobs):
        counter.add(number % groups, record.arrays["included"], record.arrays["correct"])
    return counter.counts()


def pool_bits(
    context: Context, jobs: Sequence[TrainPoolModel], rows: Indices | None = None
) -> PoolBits:
    """Return the bits of finished pool models, in the order of the jobs.

    Args:
        context: the data and the store.
        jobs: the models.
        rows: rows of D whose bits are wanted; None is all, in 2 * M * N / 8 bytes.
    """
    total = len(context.bundle.train)
    count = total if rows is None else len(rows)
    included, correct = np.empty((2, len(jobs), -(-count // 8)), dtype=np.uint8)
    for number, record in context.load_each(jobs):
        for name, bits in (("included", included), ("correct", correct)):
            packed = record.arrays[name]
            bits[number] = packed if rows is None else np.packbits(unpack(packed, total)[rows])
    return PoolBits(included, correct, count)


def unpack(packed: NDArray[np.uint8], total: int) -> NDArray[np.bool_]:
    """Return the bits [N] of a record as bool."""
    return np.unpackbits(packed, count=total).view(bool)


def weights(model: nn.Module) -> Mapping[str, NDArray[Any]]:
    """Return a model's state as arrays."""
    return {f"weights/{k}": v.detach().cpu().numpy() for k, v in model.state_dict().items()}
