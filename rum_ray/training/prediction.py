"""Predictions of a trained model."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.batches import fixed_batches, resident, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.errors import DataError, DivergedError
from rum_ray.seeding import Seed


def predict(model: nn.Module, data: LabeledData) -> NDArray[np.float64]:
    """Return the probabilities [N, K] of a model in eval mode, in fixed batches of 250."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        inputs, _ = resident(data, device)
        logits = [model(x)[:real].double().cpu() for x, real in fixed_batches(inputs, device)]
    probabilities: NDArray[np.float64] = torch.cat(logits).softmax(dim=1).numpy()
    return probabilities


def check_predictions(probabilities: NDArray[np.floating]) -> None:
    """Raise DivergedError if a prediction is not finite: finite weights may overflow."""
    if not np.isfinite(probabilities).all():
        raise DivergedError(
            "the model returns predictions that are not finite. Lower the learning rate of its "
            "training or unlearning."
        )


def check_classes(model: nn.Module, data: LabeledData) -> None:
    """Raise DataError unless a model returns one logit per class.

    One example passes through the model in eval mode. The model and torch's global generators stay
    unchanged.
    """
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    try:
        with Seed(0).torch(), torch.no_grad():
            logits = model.eval()(to_float(data.x[:1].to(device)))
    finally:
        for module, training in modes:
            module.training = training
    check_width(logits.shape[-1], data.num_classes)


def check_width(logits: int, classes: int) -> None:
    """Raise DataError unless the number of logits per example is the number of classes."""
    if logits != classes:
        raise DataError(
            f"the model returns {logits} logits per example, but the data have {classes} classes. "
            "Use a model trained on these data; if a class has no example, set num_classes."
        )
