"""Images of CIFAR-10's shape, and the loader that published code reads them with."""

import os

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rum_ray.data.bundle import LabeledData
from rum_ray.data.cifar import MEAN, STD, cifar10
from rum_ray.models.vision import vision  # torchvision imports after this only
from rum_ray.seeding import Seed

SOURCE = "CIFAR-10" if os.environ.get("RUM_RAY_DATA") else "random images of CIFAR-10's shape"


def images(count: int) -> LabeledData:
    """Return so many training images: of CIFAR-10 if RUM_RAY_DATA names its folder, else random."""
    if root := os.environ.get("RUM_RAY_DATA"):
        train = cifar10(root=root, size=min(50_000, count * 10 // 9 + 1), test_size=10).train
        return train.take(np.arange(min(count, len(train))))
    pixels = Seed(0).integers(count * 3 * 32 * 32, 256).reshape(count, 3, 32, 32)
    labels = np.arange(count) % 10
    return LabeledData(pixels.astype(np.uint8), labels, num_classes=10, mean=MEAN, std=STD)


class _Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR10 holds them: one array, one PIL image at a time."""

    def __init__(self, data: LabeledData) -> None:
        from torchvision import transforms

        self.pixels = data.x.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = data.y.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[row])), self.labels[row]


def official_loader(data: LabeledData, batch_size: int) -> DataLoader[tuple[Tensor, int]]:
    """Return PIL and torchvision's transforms in a `DataLoader` without worker processes."""
    assert vision
    return DataLoader(_Pictures(data), batch_size, shuffle=True, num_workers=0)
