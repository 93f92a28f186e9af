"""Data sets by their YAML names.

Example:
    >>> from rum_ray.data import DATASETS
    >>> sorted(DATASETS)
    ['cifar10', 'cifar100', 'digits', 'images', 'svhn', 'tiny_imagenet']
    >>> DATASETS["digits"](label_noise=0.0).name
    'digits'
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rum_ray.data.bundle import DataBundle, Indices, LabeledData, LabelNoise
from rum_ray.data.cifar import cifar10, cifar100
from rum_ray.data.digits import digits
from rum_ray.data.images import images
from rum_ray.data.reading import Reading
from rum_ray.data.svhn import svhn
from rum_ray.data.tiny_imagenet import tiny_imagenet
from rum_ray.errors import DataError
from rum_ray.plugins import annotated, blamed, find

DATASETS: Mapping[str, Callable[..., DataBundle]] = {
    "digits": digits,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "tiny_imagenet": tiny_imagenet,
    "images": images,
}
"""Functions from keyword arguments to a `DataBundle`, by the name used in experiment files."""

__all__ = [
    "DATASETS",
    "DataBundle",
    "Indices",
    "LabelNoise",
    "LabeledData",
    "Reading",
    "find_dataset",
    "load",
    "options_of",
]


def load(name: str, *, reading: Reading = Reading(), **options: Any) -> DataBundle:  # noqa: B008
    """Return a data set by name.

    Args:
        name: a key of `DATASETS`, or `package.module:function`.
        reading: ids of examples that are in D whatever the split, and the folder of a cache.
        **options: other keyword arguments of that function.

    Raises:
        ConfigError: the name is unknown, or the plug-in cannot be imported.
        DataError: a file is missing, damaged, or not in the expected format.

    Example:
        >>> bundle = load("digits", label_noise=0.1, seed=0)
        >>> len(bundle.train), len(bundle.valid), len(bundle.test)
        (1200, 200, 397)
    """
    function = find_dataset(name)
    takes = "reading" in inspect.signature(function).parameters
    with blamed(name, "data set", DataError):
        bundle = function(**({"reading": reading} if takes else {}), **options)
    if not isinstance(bundle, DataBundle):
        got = type(bundle).__name__
        raise DataError(f"data set '{name}' must return a DataBundle; it returned {got}.")
    return bundle if takes else bundle.with_trained(reading.trained)


def find_dataset(name: str) -> Callable[..., DataBundle]:
    """Return the function of a data set.

    Args:
        name: a key of `DATASETS`, or `package.module:function`.

    Raises:
        ConfigError: the name is unknown, or the plug-in is refused.
    """
    function: Callable[..., DataBundle] = find(name, DATASETS, "data set", annotated(DataBundle))
    return function


def options_of(function: Callable[..., DataBundle]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a data set's function that are keys of experiment files."""
    parameters = inspect.signature(function).parameters
    return {name: each for name, each in parameters.items() if name != "reading"}
