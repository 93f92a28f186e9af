"""Fused training: several models of one recipe, trained as one batched computation.

Fused training is faster where overhead dominates a step. An MLP gains a third on CPUs and
convolutions lose (benchmarks/fused.py), so only MLPs support it. The bits of a model do not depend
on the other models or their number, but they differ from those of `Recipe.fit`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.seeding import Seed
from rum_ray.training.optimizers import set_rate
from rum_ray.training.recipe import Recipe

FUSED = frozenset({"mlp"})
"""Models that support fused training, by their YAML names."""


class _Layers(nn.Module):
    """K linear layers of one shape: inputs [K, B, D] to outputs [K, B, E], both widths padded."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([_padded(_padded(m.weight).T) for m in layers]))
        self.bias = nn.Parameter(torch.stack([_padded(m.bias[None]) for m in layers]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)

    def copy_to(self, layers: Sequence[nn.Linear]) -> None:
        """Copy the weights to the separate layers, in the order of the constructor."""
        for layer, weight, bias in zip(layers, self.weight, self.bias, strict=True):
            outputs, inputs = layer.weight.shape
            layer.weight.copy_(weight[:inputs, :outputs].T)
            layer.bias.copy_(bias[0, :outputs])


class _MLPs(nn.Module):
    """K MLPs: inputs [K, B, ...] in [0, 1] to logits [K, B, C]."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.normalize = models[0].get_submodule("normalize")
        self.models = [_linear(model) for model in models]
        self.layers = nn.ModuleList(map(_Layers, zip(*self.models, strict=True)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalize(x.flatten(0, 1)).reshape(*x.shape[:2], -1)
        x = _padded(x)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        logits: Tensor = self.layers[-1](x)[:, :, : self.models[0][-1].out_features]
        return logits

    @torch.no_grad()
    def copy_to_models(self) -> None:
        """Copy the weights to the separate models."""
        for fused, *layers in zip(self.layers, *self.models, strict=True):
            fused.copy_to(layers)


def _padded(x: Tensor) -> Tensor:
    """Return [..., D] with D padded with zeros to the next multiple of 16.

    Each model's part of a batch then begins at a multiple of 64 bytes, and no vector instruction
    spans two models. Otherwise the bits of a model would depend on its position in the batch.
    """
    return F.pad(x, (0, -x.shape[-1] % 16))


def fit_together(
    recipe: Recipe,
    data: LabeledData,
    rows: Sequence[Indices],
    seeds: Sequence[Seed],
    device: torch.device,
) -> list[nn.Module]:
    """Return models in eval mode, each trained on its own rows.

    A diverged model has weights that are not finite; no error is raised. Initial weights, orders
    and augmentation are those of `recipe.fit`. A single model is trained together with a copy of
    itself, because a batch of one has different bits.

    Args:
        recipe: recipe of all models; its model is one of `FUSED`.
        data: data set of the rows.
        rows: training rows of each model; all have the same number.
        seeds: root seed of each model.
        device: device of the training.
    """
    runs = list(zip(rows, seeds, strict=True))
    padded = runs * 2 if len(runs) == 1 else runs
    models = [recipe.build(data, seed / "init") for _, seed in padded]
    fused = _MLPs(models).to(device)
    forward, optimizer = recipe.forward(fused.train()), recipe.new_optimizer(fused)
    sizes = recipe.batch_size, device, recipe.augment
    batches = [(Batches(data, *sizes, own), seed) for own, seed in padded]
    for epoch in range(recipe.epochs):
        steps = zip(*(own.epoch(seed / epoch) for own, seed in batches), strict=True)
        for number, step in enumerate(steps, 1):
            set_rate(optimizer, recipe.learning_rate(epoch, number / len(batches[0][0])))
            x, y = (torch.stack([batch[part] for batch in step]) for part in (1, 2))
            losses = recipe.loss(forward(x).flatten(0, 1), y.flatten(), "sum")
            optimizer.zero_grad()
            (losses / y.shape[1]).backward()
            optimizer.step()
    fused.copy_to_models()
    return [model.to(device).eval() for model in models[: len(runs)]]


def _linear(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a model, in order."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)]
