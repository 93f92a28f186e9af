"""A miniature of EasyDUB in the very layout of its publishers, with small data and few models.

The layout is that of https://huggingface.co/datasets/easydub/EasyDUB-dataset: checkpoints of epoch
23 by number, forget sets as row numbers of CIFAR-10. The models are networks of its layers with new
weights; nothing is trained.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import published
import torch
from torch import Tensor, nn

from rum_ray.seeding import Seed

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
FORGET = {1: [*range(10)], 2: [*range(5, 95, 3)]}
"""Rows by the number of the forget set."""


class Residual(nn.Module):
    """The sum of an input and the output of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return x + self.module(x)


class Mul(nn.Module):
    """A fifth of an input."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.2 * x


def block(inputs: int, outputs: int, side: int = 3, stride: int = 1, padding: int = 1):
    convolution = nn.Conv2d(inputs, outputs, side, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def resnet9(classes: int = 10) -> nn.Sequential:
    """The layers of EasyDUB's network, whose names are numbers."""
    return nn.Sequential(
        block(3, 64),
        block(64, 128, side=5, stride=2, padding=2),
        Residual(nn.Sequential(block(128, 128), block(128, 128))),
        block(128, 256),
        nn.MaxPool2d(2),
        Residual(nn.Sequential(block(256, 256), block(256, 256))),
        block(256, 128, padding=0),
        nn.AdaptiveMaxPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(128, classes, bias=False),
        Mul(),
    )


def path(root: Path, kind: str, number: int) -> Path:
    """The file of a model; `kind` is "pretrain", or "oracle/forget_1" and so on."""
    return root / "models/cifar10" / kind / f"resnet9/id_{number}_epoch_23.pt"


def load(root: Path, kind: str, number: int) -> nn.Sequential:
    """A model as EasyDUB loads it."""
    network = resnet9()
    network.load_state_dict(torch.load(path(root, kind, number), weights_only=True))
    return network


def write(root: Path, count: int, like: Path | None = None) -> Path:
    """A data set with CIFAR-10 beside it; `like` is one to copy."""
    if like is not None:
        return Path(shutil.copytree(like, root))
    published.cifar10_binary(root / "data/cifar-10-batches-bin", each=10)
    # Scores are no part of EasyDUB, but no study is without them.
    np.savez(root / "scores.npz", memorization=np.linspace(0, 1, 100))
    (root / "forget_sets/cifar10").mkdir(parents=True)
    for number, rows in FORGET.items():
        np.save(root / f"forget_sets/cifar10/forget_set_{number}.npy", np.array(rows))
    for kind in ("pretrain", "oracle/forget_2"):
        for number in range(count):
            with (Seed(number) / kind).torch():
                network = resnet9()
                # Training moves the running statistics.
                network(torch.rand(8, 3, 32, 32))
            place = path(root, kind, number)
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.save(network.state_dict(), place)
    return root


def tree(root: Path) -> Mapping[str, Any]:
    """An experiment on the second forget set with one seed, whose floor is the next number."""
    models = f"{root}/models/cifar10"
    return {
        "name": "easydub",
        "data": {"name": "cifar10", "root": f"{root}/data", "valid_fraction": 0},
        "recipe": {
            "model": "resnet9",
            "epochs": 1,
            "batch_size": 50,
            "normalize": {"mean": [*MEAN], "std": [*STD]},
            "weights": f"{models}/pretrain/resnet9/id_{{seed}}_epoch_23.pt",
        },
        "forget": {"ids": f"{root}/forget_sets/cifar10/forget_set_2.npy"},
        "score": {"file": f"{root}/scores.npz"},
        "refine": {"name": "shuffle", "into": ["whole"]},
        "plan": {"whole": "nothing"},
        "evaluate": {"retrained": f"{models}/oracle/forget_2/resnet9/id_{{seed}}_epoch_23.pt"},
        "seeds": [1],
    }
