"""Data sets by their YAML names.

Example:
    >>> from rum_ray.data import DATASETS
    >>> sorted(DATASETS)
    ['cifar10', 'digits', 'images']
    >>> DATASETS["digits"](label_noise=0.0).name
    'digits'
"""

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
"""Functions from keyword arguments to a `DataBundle`, by the name used in experiment files."""

__all__ = ["DATASETS", "DataBundle", "Indices", "LabelNoise", "LabeledData", "load"]


def load(name: str, **options: Any) -> DataBundle:
    """Return a data set by name.

    Args:
        name: a key of `DATASETS`, or `package.module:function`.
        **options: keyword arguments of that function.

    Raises:
        ConfigError: the name is unknown, or the plug-in cannot be imported.
        DataError: a file is missing, damaged, or not in the expected format.

    Example:
        >>> bundle = load("digits", label_noise=0.1, seed=0)
        >>> len(bundle.train), len(bundle.valid), len(bundle.test)
        (1200, 200, 397)
    """
    function: Callable[..., DataBundle] = find(name, DATASETS, "data set")
    return function(**options)
