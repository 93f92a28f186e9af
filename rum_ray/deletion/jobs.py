"""The job of a deletion: unlearn, if there is a plan, then predict everything once."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rum_ray.data.batches import fixed_batches, resident
from rum_ray.data.bundle import DataBundle, Indices, LabeledData, complement
from rum_ray.evaluation.mia import margin
from rum_ray.jobs import Context, TrainModel, load_model
from rum_ray.jobs.train import weights
from rum_ray.models.classifier import Classifier
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, unlearn
from rum_ray.scores.surroundings import label_disagreement
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.prediction import check_width
from rum_ray.training.recipe import Recipe

KIND = "deletion"


@dataclass(frozen=True, eq=False)
class MeasureModel:
    """Predict D, T and the rows forgotten before; with a plan, unlearn first.

    Attributes:
        model: the model that the request starts from.
        seed: the root of the plan's random draws.
        plan: the steps to run on the model; None measures it unchanged.
        past: rows forgotten by earlier requests, as far as their data are there; no part of D.
        request: rows of D whose difficulty is measured by the labels around them; None for none.
    """

    model: TrainModel
    seed: Seed
    plan: Plan | None = None
    past: LabeledData | None = None
    request: Indices | None = None

    @property
    def recipe(self) -> Recipe:
        """The model's recipe."""
        return self.model.recipe

    def key(self, context: Context) -> Key:
        """Return the key of the measurements."""
        data = context.eval_fingerprint("test")
        return Key(KIND, {"job": self, "unseen": data, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return, per set, the logit of the label and True where the prediction is right.

        With a plan, the artifact has the unlearned weights, too.
        """
        train, model = context.bundle.train, self.model.load(context)
        provenance = {}
        if self.plan is not None:
            start = time.monotonic()
            model = unlearn(model, self.plan, train, runtime, self.recipe)
            provenance = {"seconds": time.monotonic() - start}
        arrays, features = predictions(model, context.bundle, self.past, self.request is not None)
        if self.request is not None:
            arrays |= difficulty_around(context.bundle, self.request, features)
        return Artifact({**arrays, **(weights(model) if self.plan else {})}, None, provenance)

    def load_model(self, context: Context) -> nn.Module:
        """Return the unlearned model; the job must be finished."""
        return load_model(self.recipe, context, context.load(self))


def predictions(
    model: nn.Module, bundle: DataBundle, past: LabeledData | None = None, embeds: bool = False
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float32] | None]]:
    """Return the predictions of a model on D, T and other rows, and its embeddings by set.

    Predictions are the logit of the label, and True where the predicted class is the label. Logits
    of test rows are those of the labels after the label process of D.
    """
    sets = {"train": bundle.train, "test": bundle.test}
    if past is not None and len(past):
        sets["past"] = past
    noisy = {"test": bundle.nonmembers("test").y.numpy()}
    arrays: dict[str, NDArray[Any]] = {}
    features = {}
    for name, data in sets.items():
        p, features[name] = _pass(model, data, embeds)
        check_width(p.shape[1], bundle.num_classes)
        y = data.y.numpy()
        arrays[f"right/{name}"] = p.argmax(axis=1) == y
        arrays[f"logit/{name}"] = margin(p, noisy.get(name, y)).astype(np.float32)
    return arrays, features


def difficulty_around(
    bundle: DataBundle, request: Indices, features: Mapping[str, NDArray[np.float32] | None]
) -> dict[str, NDArray[np.float64]]:
    """Return the disagreement of labels around the rows of a request, and around the test rows.

    The labels are those of the retained rows. Empty without embeddings.
    """
    inside, unseen = features["train"], features["test"]
    if inside is None or unseen is None:
        return {}
    y, kept = bundle.train.y.numpy(), complement(request, len(bundle.train))
    known, labels = (inside[kept], y[kept]), bundle.nonmembers("test").y.numpy()
    return {
        "difficulty/forget": label_disagreement(*known, inside[request], y[request]),
        "difficulty/test": label_disagreement(*known, unseen, labels),
    }


def _pass(
    model: nn.Module, data: LabeledData, embeds: bool
) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    """Return the probabilities [N, K] and the embeddings [N, D] of one pass in eval mode.

    The embeddings are None if they are not wanted, or if the model is no `Classifier`.
    """
    device = next(model.parameters()).device
    model.eval()
    logits: list[Tensor] = []
    features: list[Tensor] = []
    with torch.inference_mode():
        for x, real in fixed_batches(resident(data, device)[0], device):
            if embeds and isinstance(model, Classifier):
                embedded = model.embed(x)
                features.append(embedded[:real].float().cpu())
                logits.append(model.head(embedded)[:real].double().cpu())
            else:
                logits.append(model(x)[:real].double().cpu())
    probabilities: NDArray[np.float64] = torch.cat(logits).softmax(dim=1).numpy()
    return probabilities, torch.cat(features).numpy() if features else None
