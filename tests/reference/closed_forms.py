"""Each unlearner on a problem that one batch holds, compared with its formula in double precision.

The model has no normalisation or dropout, so a step of the unlearner is a step of the formula.
"""

import functools

import numpy as np
from torch import nn

from rum_ray.data import load
from rum_ray.models import Classifier
from rum_ray.seeding import Seed
from rum_ray.unlearning import UNLEARNERS, UnlearningTask

from . import unlearning


@functools.cache
def problem():
    """A small convolutional network, 40 digits to forget and 90 to retain."""
    digits = load("digits").train
    with Seed(1).torch():
        stem = (nn.Conv2d(1, 6, 3, stride=2), nn.Tanh(), nn.Flatten())
        model = Classifier(nn.Sequential(*stem), nn.Linear(54, 10)).eval()
    sets, shift = (digits.take(range(40)), digits.take(range(50, 140))), np.arange(-65.0, 65.0) / 10
    return model, UnlearningTask(*sets, model, shift=shift)


@functools.cache
def gap(name):
    """Return (largest difference to the formula, largest change of a weight)."""
    case = unlearning.CASES[name]
    unlearner, (model, task) = UNLEARNERS[name](**case.fields), problem()
    expected = case.literal(unlearner, model, task)
    result = unlearner(model, task, unlearning.RUNTIME)
    if name == "retrain":
        model = unlearner.recipe.build(task.retain, unlearning.SEED / "init")
    return unlearning.distance(result, expected), unlearning.distance(expected, model)
