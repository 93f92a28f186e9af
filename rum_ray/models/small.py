"""Small networks: an MLP, and CNNs of about 50 k, 0.3 M and 1.4 M parameters."""

import math

from torch import Tensor, nn

from rum_ray.models.classifier import Classifier


def mlp(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """MLP with two hidden layers of 256 ReLU units."""
    features = nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
    )
    return Classifier(features, nn.Linear(256, num_classes))


def _convolution(inputs: int, outputs: int, *, pool: bool) -> list[nn.Module]:
    """Return a 3 x 3 convolution, BatchNorm and ReLU; with `pool`, max-pooling (2 x 2) first."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
    return [nn.MaxPool2d(2), *layers] if pool else layers


def small_cnn(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """CNN of three convolutions (32, 48 and 80 channels; stride 2 first): 50 k parameters."""
    stem = [nn.Conv2d(shape[0], 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32)]
    features = nn.Sequential(
        *stem,
        nn.ReLU(),
        *_convolution(32, 48, pool=False),
        *_convolution(48, 80, pool=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Classifier(features, nn.Linear(80, num_classes))


def patch_cnn(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """CNN of two patch convolutions (64 and 128 channels) and a hidden layer; fits data quickly.

    The patches do not overlap, and there is no BatchNorm, so a step on a CPU is short. Height and
    width are at least 8.
    """
    pixels = (shape[1] // 8) * (shape[2] // 8)
    features = nn.Sequential(
        nn.Conv2d(shape[0], 64, 4, stride=4),
        nn.ReLU(),
        nn.Conv2d(64, 128, 2, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * pixels, 128),
        nn.ReLU(),
    )
    return Classifier(features, nn.Linear(128, num_classes))


class _Residual(nn.Module):
    """A convolution, followed by a residual block of two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolution(inputs, outputs, pool=True))
        self.rest = nn.Sequential(
            *_convolution(outputs, outputs, pool=False), *_convolution(outputs, outputs, pool=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        residual: Tensor = self.rest(x)
        return x + residual


class MaxOverPixels(nn.Module):
    """Global max-pooling; unlike PyTorch's adaptive pooling, deterministic on GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the largest value [N, C] of each channel."""
        return x.amax(dim=(2, 3))


def fast_cnn(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """CNN of four stages (64, 128, 128 and 192 channels; two residual): 1.4 M parameters."""
    features = nn.Sequential(
        *_convolution(shape[0], 64, pool=False),
        _Residual(64, 128),
        *_convolution(128, 128, pool=True),
        _Residual(128, 192),
        MaxOverPixels(),
    )
    return Classifier(features, nn.Linear(192, num_classes))
