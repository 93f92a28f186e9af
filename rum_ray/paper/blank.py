"""Data sets without their images, so that the paper's items can be forecast without a download."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rum_ray.data import DataBundle, LabeledData
from rum_ray.data.cifar import CIFAR10, CIFAR100
from rum_ray.data.images import split_train
from rum_ray.data.tiny_imagenet import TINY_IMAGENET
from rum_ray.experiment import Experiment

SIZES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
SIZES |= {"tiny_imagenet": (100_000, 10_000)}
"""Images of D and V together, and of T."""
FORMS = {form.name: form for form in (CIFAR10, CIFAR100, TINY_IMAGENET)}


def blank(
    *,
    of: Literal["cifar10", "cifar100", "tiny_imagenet"],
    size: int | None = None,
    test_size: int | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> DataBundle:
    """Return black images, as many and of the shape and the classes of a published data set.

    All examples share the memory of one pixel.

    Args:
        of: name of the data set.
        size: images in D and V together; all by default.
        test_size: images in T; all by default.
        valid_fraction: share of D and V in V, in [0, 1).
        seed: seed of the split.
    """
    form, (whole, unseen) = FORMS[of], SIZES[of]
    labels = torch.arange(whole) % form.classes
    d, v = split_train(labels, size or whole, valid_fraction, seed)
    train, valid, test = (
        LabeledData(
            x=torch.zeros((), dtype=torch.uint8).expand(len(part), *form.shape),
            y=labels[part],
            ids=part,
            num_classes=form.classes,
            mean=form.mean,
            std=form.std,
        )
        for part in (d, v, np.arange(test_size or unseen))
    )
    return DataBundle(of, train, valid, test)


def without_files(experiment: Experiment) -> tuple[str, ...]:
    """Return the changes that replace missing files of data and scores; none if both are there.

    Scores of a file cost nothing, and so do those that the training of the originals records.
    """
    options, file = dict(experiment.data.options), experiment.score.file
    root = options.pop("root", None)
    if root is None or Path(root).expanduser().exists():
        return ()
    options.pop("labels", None)
    data = {"name": f"{blank.__module__}:{blank.__name__}", "of": experiment.data.name, **options}
    scores = () if file is None else ("score.file=null", "score.name=confidence")
    return (f"data={json.dumps(data)}", *scores)
