"""Gradients of the cross-entropy at fixed weights: in eval mode, in float32, without augmentation.

A gradient is one vector [P] over all P parameters, in the order of the model.
"""

import copy
from collections.abc import Iterable, Iterator
from functools import partial, reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp

from rum_ray.data.batches import PREDICTION_BATCH, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.training.runtime import Runtime


def differentiable(model: nn.Module, runtime: Runtime) -> nn.Module:
    """Return a copy on the device, in eval mode, whose parameters require gradients."""
    return copy.deepcopy(model).to(runtime.device).eval().requires_grad_(True)


def batch_gradients(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    """Yield the gradient [P] of each batch's mean loss, at the current weights."""
    for x, y in batches:
        yield _gradient(F.cross_entropy(model(x), y), model)


def mean_gradient(model: nn.Module, data: LabeledData) -> Tensor:
    """Return the gradient [P] of the mean loss over a set."""
    gradients = (
        _gradient(F.cross_entropy(model(x), y, reduction="sum"), model)
        for x, y in _sequential_batches(model, data)
    )
    return reduce(torch.add, gradients) / len(data)


def directional_derivatives(model: nn.Module, data: LabeledData, direction: Tensor) -> Tensor:
    """Return the derivatives [N] of each example's loss along `direction` [P], in forward mode."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    tangent = by_parameter(direction, model)
    parts = [direction.new_zeros(0)]
    for x, y in _sequential_batches(model, data):
        losses = partial(_losses, model=model, x=x, y=y)
        parts.append(jvp(losses, (weights,), (tangent,))[1])
    return torch.cat(parts)


def fisher_product(model: nn.Module, data: LabeledData, vector: Tensor) -> Tensor:
    """Return F v [P], with F = mean over examples of g g^T, the empirical Fisher information."""
    slopes = directional_derivatives(model, data, vector).split(PREDICTION_BATCH)
    gradients = (
        _gradient(F.cross_entropy(model(x), y, reduction="none") @ slope, model)
        for (x, y), slope in zip(_sequential_batches(model, data), slopes, strict=True)
    )
    return reduce(torch.add, gradients) / len(data)


def by_parameter(vector: Tensor, model: nn.Module) -> dict[str, Tensor]:
    """Return a vector [P] as tensors in the shapes of the parameters, by name."""
    parameters = dict(model.named_parameters())
    parts = vector.split([p.numel() for p in parameters.values()])
    return {
        name: part.view(p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)
    }


def _gradient(loss: Tensor, model: nn.Module) -> Tensor:
    """Return the gradient [P] of a loss; 0 for parameters that it does not depend on."""
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def _losses(weights: dict[str, Tensor], model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss [B] of each example under the given weights."""
    return F.cross_entropy(functional_call(model, weights, (x,)), y, reduction="none")


def _sequential_batches(model: nn.Module, data: LabeledData) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) of consecutive examples, on the model's device."""
    device = next(model.parameters()).device
    for first in range(0, len(data), PREDICTION_BATCH):
        rows = slice(first, first + PREDICTION_BATCH)
        yield to_float(data.x[rows].to(device)), data.y[rows].to(device)
