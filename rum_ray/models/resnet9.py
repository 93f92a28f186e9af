"""ResNet-9 of EasyDUB, a benchmark that has 2,200 trained models of it for CIFAR-10."""

from torch import Tensor, nn

from rum_ray.models.classifier import Classifier
from rum_ray.models.small import MaxOverPixels

SCALE = 0.2
"""Factor of the logits."""


class _Residual(nn.Module):
    """The sum of an input and the output of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.module(x)
        return x + residual


class _Scale(nn.Module):
    """Multiplication by the factor of the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return SCALE * x


def _block(
    inputs: int, outputs: int, side: int = 3, stride: int = 1, padding: int = 1
) -> nn.Module:
    """Return a convolution, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def resnet9(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """ResNet-9: eight convolutions and a linear layer; 128-d embeddings, 2.3 M parameters.

    Reference: Rinberg et al., "Easy data unlearning bench", 2026, https://arxiv.org/abs/2602.16400.

    The layers are those of EasyDUB, in its order: the weights of its layers 0 to 6 are those of
    `features`, that of its layer 9 is the one of `head`. Height and width are at least 11.
    """
    features = nn.Sequential(
        _block(shape[0], 64),
        _block(64, 128, side=5, stride=2, padding=2),
        _Residual(nn.Sequential(_block(128, 128), _block(128, 128))),
        _block(128, 256),
        nn.MaxPool2d(2),
        _Residual(nn.Sequential(_block(256, 256), _block(256, 256))),
        _block(256, 128, padding=0),
        MaxOverPixels(),
    )
    return Classifier(features, nn.Sequential(nn.Linear(128, num_classes, bias=False), _Scale()))
