"""Loss curvature: how sharply the loss bends around an example during training.

Let g be the gradient of the example's loss with respect to its pixels, in eval mode, before each
training step. Then

curv = || g(x + z) - g(x) ||,  z = h (sign(g(x)) + e) / (|| sign(g(x)) || + e),  e = 1e-7

averaged over epochs. **Higher is harder to forget** (Garg, Ravikumar and Roy, "Memorization through
the lens of curvature of loss function around samples", ICML 2024,
https://proceedings.mlr.press/v235/garg24a.html). Pixels are in [0, 1], because normalisation is
part of the model.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rum_ray.data.bundle import DataBundle
from rum_ray.scores.base import Scores
from rum_ray.scores.running_means import RunningMeans
from rum_ray.training.recipe import Recipe, check_positive
from rum_ray.training.runtime import Runtime

SMALLEST = 1e-7
"""Keeps the direction finite where the gradient is zero."""


@dataclass(frozen=True)
class Curvature:
    """Mean change of the input gradient over a small step, in [0, inf); higher is harder.

    Reference: Garg, Ravikumar and Roy, "Memorization through the lens of curvature of loss
    function around samples", ICML 2024, https://proceedings.mlr.press/v235/garg24a.html.

    The measurement runs in float32, whatever the recipe's precision. The trained model is
    bit-identical to one that is trained without the measurement.

    Attributes:
        h: length of the step, in pixel values.
    """

    name: ClassVar[str] = "curvature"

    h: float = 0.01

    def __post_init__(self) -> None:
        check_positive(self, "h")

    def __call__(self, bundle: DataBundle, recipe: Recipe, runtime: Runtime) -> Scores:
        """Train once, measure before each step, and return the mean per example."""
        curvatures = Curvatures(len(bundle.train), self.h)
        recipe.fit(bundle.train, runtime, probe=curvatures)
        return Scores(curvatures.means()[0], name=self.name)

    def cost(self, bundle: DataBundle, recipe: Recipe) -> float:
        """Return the examples passed forward and backward: once to train, twice to measure."""
        return 3.0 * recipe.epochs * len(bundle.train)


class Curvatures(RunningMeans):
    """Mean curvature of each example over epochs; pass it to `Recipe.fit` as `probe`."""

    def __init__(self, examples: int, h: float) -> None:
        """Start empty, for `examples` training examples and a step of length `h`."""
        super().__init__(1, examples)
        self.h = h

    def __call__(self, model: nn.Module, rows: Tensor, x: Tensor, y: Tensor) -> None:
        """Add the curvatures of a batch: rows [B], inputs [B, ...], labels [B]."""
        self.add(rows, curvature(model, x, y, self.h)[None])


def curvature(model: nn.Module, x: Tensor, y: Tensor, h: float) -> Tensor:
    """Return the curvature [B] of the loss around each example.

    Args:
        model: a model in eval mode, so that no example's loss depends on another.
        x: [B, ...] inputs.
        y: [B] labels.
        h: length of the step.
    """
    gradient = _input_gradient(model, x, y)
    sign = gradient.sign()
    length = sign.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
    step = h * (sign + SMALLEST) / (length + SMALLEST)
    change = _input_gradient(model, x + step, y) - gradient
    curvatures: Tensor = change.flatten(1).norm(dim=1)
    return curvatures


def _input_gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient [B, ...] of each example's loss with respect to its input."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    return torch.autograd.grad(loss, x)[0]
