"""A literal training loop in double precision, and a model for tests only."""

import math

import torch
from torch import nn

from rum_ray.models import Classifier

from .literal import Sgd, cross_entropy


def fit(recipe, data, seed):
    """Minibatch SGD with a cosine schedule: lr_e = lr / 2 * (1 + cos(pi * e / E))."""
    sgd = Sgd(recipe.build(data, seed / "init"), **vars(recipe))
    for e in range(recipe.epochs):
        if recipe.schedule == "cosine":
            sgd.lr = recipe.lr / 2 * (1 + math.cos(math.pi * e / recipe.epochs))
        order = torch.from_numpy((seed / e / "order").permutation(len(data)))
        for first in range(0, len(data), recipe.batch_size):
            rows = order[first : first + recipe.batch_size]
            sgd.step(cross_entropy(sgd.model, data.x[rows], data.y[rows]))
    return sgd.model


def forgetful(shape, num_classes) -> nn.Module:
    """A network with dropout: the plug-in `reference.training:forgetful`."""
    width = math.prod(shape)
    features = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(width, 8), nn.ReLU())
    return Classifier(features, nn.Linear(8, num_classes))


def bare(shape, num_classes) -> nn.Module:
    """A model that is no Classifier."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_classes))


def headless(shape, num_classes) -> nn.Module:
    """A model without a linear last layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), num_classes), nn.Softplus())


def one_short(shape, num_classes) -> nn.Module:
    """A model with one class too few."""
    return forgetful(shape, num_classes - 1)


class Aside(nn.Module):
    """Returns a pair in train mode, as Inception does."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        logits = self.fc(x.flatten(1))
        return (logits, logits) if self.training else logits


def aside(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A model with a second output in train mode."""
    return Aside(math.prod(shape), num_classes)


def normalised(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A model whose batch normalisation has one value per channel and example."""
    layers = nn.Linear(math.prod(shape), 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes)
    return nn.Sequential(nn.Flatten(), *layers)
