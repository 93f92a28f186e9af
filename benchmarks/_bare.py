"""The package on a machine that has PyTorch and no other package of `constraints.txt`.

Importing this module first makes `rum_ray.data`, `rum_ray.training` and `rum_ray.models`
importable there. Data sets of files do not work then.
"""

import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
for _name, _parts in {"PIL": (), "pyarrow": ("compute", "parquet")}.items():
    if importlib.util.find_spec(_name) is None:
        sys.modules[_name] = MagicMock()
        sys.modules.update({f"{_name}.{part}": MagicMock() for part in _parts})

RESNET = "_bare:resnet18"
"""Name of `resnet18` in a recipe."""


class _Block(nn.Module):
    """Two convolutions with BatchNorm, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        result: Tensor = (out + self.downsample(x)).relu()
        return result


def resnet18(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """ResNet-18 with the stem for small images, as `rum_ray.models` has it from torchvision."""
    layers = [nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [_Block(inputs, outputs, stride), _Block(outputs, outputs, 1)]
    from rum_ray.models.classifier import Classifier

    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(features, nn.Linear(512, num_classes))
