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
_MOST_CANDIDATES = 16


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

    Only networks whose first modules have names among these are built, without memory.

    Args:
        names: without those that end with one of `ignored`.
        ignored: last parts of names that do not count.
    """
    from rum_ray.models.vision import vision

    wanted = set(names)
    family = _FAMILIES.get(min((name for name in wanted), default="").partition(".")[0], ())
    known = [name for name in vision.list_models(module=vision) if name.startswith(family)]
    found = []
    for name in known[:_MOST_CANDIDATES]:
        with torch.device("meta"):
            state = function_of(name)((3, 224, 224), 2).state_dict()
        if {key for key in state if not key.endswith(ignored)} == wanted:
            found.append(PREFIX + name)
    return found


_FAMILIES: dict[str, tuple[str, ...]] = {
    "bn1": ("resnet", "wide_resnet", "resnext"),
    "classifier": (
        *("alexnet", "vgg", "densenet", "mobilenet", "efficientnet_b", "mnasnet", "convnext"),
        *("squeezenet",),
    ),
    "conv1": ("shufflenet",),
    "class_token": ("vit_",),
    "features": ("swin_",),
    "fc": ("regnet",),
}
"""Beginnings of names of networks by the first module, in alphabetical order, of their weights."""
