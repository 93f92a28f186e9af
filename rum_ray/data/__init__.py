"""What is learned: data sets by their YAML names."""

from collections.abc import Callable, Mapping
from typing import Any

from rum_ray.data.bundle import DataBundle, Indices, LabeledData, LabelNoise
from rum_ray.data.cifar import cifar10
from rum_ray.data.digits import digits
from rum_ray.data.images import images
from rum_ray.plugins import find

DATASETS: Mapping[str, Callable[..., DataBundle]] = {
    "digits": digits,
    "cifar10": cifar10,
    "images": images,
}

__all__ = ["DATASETS", "DataBundle", "Indices", "LabelNoise", "LabeledData", "load"]


def load(name: str, **options: Any) -> DataBundle:
    """Return the data set of that name.

    Args:
        name: a key of `DATASETS`, or `package.module:function`.
        **options: its keyword arguments.
    """
    function: Callable[..., DataBundle] = find(name, DATASETS, "data set")
    return function(**options)
