"""Each unlearner on a problem that one batch holds, beside its formula in double precision.

The model has no normalisation or dropout, so a step of the one is a step of the other.
"""

import functools

from torch import nn

from rum_ray.data import load
from rum_ray.models import Classifier
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import UNLEARNERS, UnlearningTask
from rum_ray.unlearning.bad_teacher import incompetent
from rum_ray.unlearning.base import concat_sets
from rum_ray.unlearning.convolutions import layer_weights, redrawn

from . import training, unlearning

ONE_BATCH = {"lr": 0.1, "epochs": 2, "batch_size": 130}
RUNTIME = LocalRuntime(Seed(0))
SEED = RUNTIME.seed


@functools.cache
def problem():
    """A small convolutional network, and 40 digits to forget, 90 to keep."""
    digits = load("digits").train
    with Seed(1).torch():
        stem = (nn.Conv2d(1, 6, 3, stride=2), nn.Tanh(), nn.Flatten())
        model = Classifier(nn.Sequential(*stem), nn.Linear(54, 10)).eval()
    return model, UnlearningTask(digits.take(range(40)), digits.take(range(50, 140)), model)


def _nothing(u, model, task):
    return model


def _retrain(u, model, task):
    return training.fit(u.recipe, task.retain, SEED)


def _l1_sparse(u, model, task):
    return unlearning.finetune(u, model, task, u.alpha)


def _random_label(u, model, task, frozen=None):
    labels = [u.labels(task, RUNTIME, epoch) for epoch in range(u.epochs)]
    return unlearning.random_label(u, model, task, labels, frozen)


def _salun(u, model, task):
    frozen = unlearning.salun_frozen(task.original, [task.forget], u.keep)
    return _random_label(u, model, task, frozen)


def _bad_teacher(u, model, task):
    rows = (SEED / "retain").choice(90, int(u.retain_share * 90))
    return unlearning.bad_teacher(u, model, task, incompetent(model, SEED / "teacher"), rows)


def _ssd(u, model, task):
    return unlearning.ssd(u, model, [task.forget], [concat_sets(task, task.forget.y)])


def _msg(u, model, task):
    seed = SEED / "mask"
    rows = (seed / "retain").choice(90, 40)
    parameters = dict(model.named_parameters())
    fresh = {name: redrawn(parameters[name], seed / name) for name in layer_weights(model)}
    return unlearning.msg(u, model, task, rows, fresh)


CASES = {
    "nothing": ({}, _nothing),
    "retrain": ({"recipe": Recipe("mlp", epochs=2, lr=0.1, batch_size=130)}, _retrain),
    "finetune": (ONE_BATCH, unlearning.finetune),
    "l1_sparse": ({**ONE_BATCH, "alpha": 0.01}, _l1_sparse),
    "neggrad": (ONE_BATCH, unlearning.neggrad),
    "neggrad+": (ONE_BATCH, unlearning.neggrad_plus),
    "scrub": ({**ONE_BATCH, "max_epochs": 1}, unlearning.scrub),
    "random_label": (ONE_BATCH, _random_label),
    "salun": (ONE_BATCH, _salun),
    "influence": ({}, unlearning.influence),
    "bad_teacher": (ONE_BATCH, _bad_teacher),
    "ssd": ({"batch_size": 130, "alpha": 2.0}, _ssd),
    "msg": (ONE_BATCH, _msg),
    "ct": (ONE_BATCH, unlearning.ct),
}


@functools.cache
def gap(name):
    """Return (largest difference to the formula, largest move of a weight)."""
    fields, literal = CASES[name]
    unlearner, (model, task) = UNLEARNERS[name](**fields), problem()
    expected, result = literal(unlearner, model, task), unlearner(model, task, RUNTIME)
    if name == "retrain":
        model = unlearner.recipe.build(task.retain, SEED / "init")
    return unlearning.distance(result, expected), unlearning.distance(expected, model)
