"""The networks of the paper: ResNet-18, ResNet-50 (torchvision) and VGG-16 with BatchNorm.

The ResNets have the stem for small images: a 3 x 3 convolution of stride 1 and no max-pooling.
"""

import torch
from torch import Tensor, nn

from rum_ray.models.classifier import Classifier


def _resnet(name: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return torchvision's network of this name with the stem for small images."""
    from rum_ray.models.vision import vision

    network = getattr(vision, name)(num_classes=num_classes)
    network.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    features = nn.Sequential(
        network.conv1,
        network.bn1,
        network.relu,
        network.layer1,
        network.layer2,
        network.layer3,
        network.layer4,
        network.avgpool,
        nn.Flatten(),
    )
    return Classifier(features, network.fc)


def resnet18(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """ResNet-18: 11,173,962 parameters for 3 channels and 10 classes; 512-d embeddings."""
    return _resnet("resnet18", shape, num_classes)


def resnet50(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """ResNet-50: 23,705,252 parameters for 3 channels and 100 classes; 2,048-d embeddings."""
    return _resnet("resnet50", shape, num_classes)


class _MeanOfQuarters(nn.Module):
    """Mean over each quarter of the image: adaptive average pooling to [N, C, 2, 2].

    PyTorch's own adaptive pooling has a backward pass that is not deterministic on GPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        # The middle row or column of an odd side belongs to both halves.
        halves = x[:, :, : (height + 1) // 2], x[:, :, height // 2 :]
        sides = slice((width + 1) // 2), slice(width // 2, None)
        quarters = [half[..., side].mean(dim=(2, 3)) for half in halves for side in sides]
        return torch.stack(quarters, dim=2).reshape(*x.shape[:2], 2, 2)


def vgg16(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """VGG-16 with BatchNorm, pooled to 2 x 2; 2,048-d embeddings and a head of three layers."""
    widths: list[str | int] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M"]
    widths += [512, 512, 512]
    layers: list[nn.Module] = []
    channels = shape[0]
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    head = nn.Sequential(
        nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, num_classes)
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
            nn.init.zeros_(layer.bias)
    return Classifier(nn.Sequential(*layers, _MeanOfQuarters(), nn.Flatten()), head)
