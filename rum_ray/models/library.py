"""torchvision's classification models by their names, with their own names of weights.

Example:
    >>> from rum_ray.models import build
    >>> network = build("torchvision:resnet18", (3, 32, 32), 10)
    >>> list(network.state_dict())[0], network.fc.out_features
    ('conv1.weight', 10)
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from rum_ray.errors import ConfigError, did_you_mean

PREFIX = "torchvision:"
_DRAWN = frozenset({"googlenet", "inception_v3"})
"""Networks that draw their initial weights on request only."""
_FAMILIES = {
    "layer1.0.conv1.weight": ("resnet", "wide_resnet", "resnext"),
    "features.0.weight": ("alexnet", "vgg", "squeezenet"),
    "features.denseblock1.denselayer1.norm1.weight": ("densenet",),
    "class_token": ("vit_",),
    "features.0.0.weight": ("convnext", "efficientnet", "mobilenet", "swin"),
    "stem.0.weight": ("regnet",),
    "stage2.0.branch1.0.weight": ("shufflenet",),
}
"""Beginnings of the names of networks by a name of their weights."""


def function_of(name: str) -> Any:
    """Return the function (input shape, number of classes) -> network of a name.

    Args:
        name: `torchvision:` and the name of a classification model, such as
            "torchvision:resnet18".

    Raises:
        ConfigError: torchvision has no such classification model.
    """
    from rum_ray.models.vision import vision

    known, own = vision.list_models(module=vision), name.removeprefix(PREFIX)
    if own not in known:
        raise ConfigError(
            f"unknown model '{name}': torchvision has no such classification model. "
            f"{did_you_mean(own, known)}"
        )

    def network(shape: tuple[int, ...], num_classes: int) -> nn.Module:
        options = {"init_weights": True} if own in _DRAWN else {}
        made: nn.Module = vision.get_model(own, weights=None, num_classes=num_classes, **options)
        return made

    return network


def networks_with(names: Collection[str], ignored: tuple[str, ...]) -> list[str]:
    """Return the networks of torchvision whose `state_dict` has these names and no others.

    Only networks of the family that a name tells are built, without memory.

    Args:
        names: without those that end with one of `ignored`.
        ignored: last parts of names that do not count.
    """
    from rum_ray.models.vision import vision

    wanted = set(names)
    family = next((names for mark, names in _FAMILIES.items() if mark in wanted), None)
    if family is None:
        return []
    known = [name for name in vision.list_models(module=vision) if name.startswith(family)]
    found = []
    for name in known:
        with torch.device("meta"):
            state = function_of(name)((3, 224, 224), 2).state_dict()
        if {key for key in state if not key.endswith(ignored)} == wanted:
            found.append(PREFIX + name)
    return found
