"""Each unlearner forgets, on real data: 120 digits with wrong labels, memorized by a network.

The settings are those of `tests/reference/unlearning.py`, where each unlearner has one row.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
from reference.unlearning import CASES

from rum_ray.data import load
from rum_ray.evaluation import evaluate
from rum_ray.partition import Partition, Subset
from rum_ray.rum import Plan, unlearn
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.prediction import predict
from rum_ray.unlearning import UNLEARNERS
from rum_ray.unlearning.datamodel import recorded_outputs

RUNTIME = LocalRuntime(Seed(0))
RECIPES = {
    "mlp": Recipe("mlp", epochs=80, lr=0.1, batch_size=64),
    "small_cnn": Recipe("small_cnn", epochs=10, lr=0.1, batch_size=64),
}
SETTINGS = [(name, fields) for name, case in CASES.items() for fields in case.forgets]


@pytest.fixture(scope="module")
def digits():
    return load("digits", label_noise=0.1)


@pytest.fixture(scope="module")
def forget(digits) -> Partition:
    return Partition((Subset("all", np.flatnonzero(digits.flipped)),))


@pytest.fixture(scope="module")
def models(digits, forget):
    """The original and the retrained model, by name of the network."""

    @functools.cache
    def trained(name):
        data = (digits.train, digits.train.without(forget.rows))
        return [RECIPES[name].fit(part, RUNTIME) for part in data]

    return trained


@pytest.fixture(scope="module")
def foreseen(digits, forget, models):
    """The forget set, with the shifts of a datamodel that is always right."""
    original, retrained = (recorded_outputs(confidence(m, digits.train)) for m in models("mlp"))
    return Partition((replace(*forget, shift=(retrained - original).astype(np.float32)),))


def confidence(model, data):
    return predict(model, data)[np.arange(len(data)), data.y.numpy()]


@pytest.mark.parametrize(("name", "memorized"), [("mlp", 0.8), ("small_cnn", 0.6)])
def test_originals_memorize_and_retrained_models_do_not(digits, forget, models, name, memorized):
    original, retrained = (evaluate(m, digits, forget).accuracies for m in models(name))
    assert original.forget > memorized
    assert retrained.forget < 0.1
    assert min(original.retain, retrained.retain) > 0.99
    assert min(original.test, retrained.test) > 0.94


@pytest.mark.parametrize(("name", "fields"), SETTINGS)
def test_the_forget_accuracy_moves_to_the_retrained_model_s(name, fields, digits, foreseen, models):
    original, retrained = models(CASES[name].model)
    plan = Plan.assign(foreseen, {"all": UNLEARNERS[name](**fields)})
    unlearned = evaluate(unlearn(original, plan, digits.train, RUNTIME), digits, plan)
    before, target = (evaluate(model, digits, plan) for model in (original, retrained))
    gaps = [abs(e.accuracies.forget - target.accuracies.forget) for e in (unlearned, before)]
    assert gaps[0] < 0.5 * gaps[1], "less than half of the way"
    assert unlearned.accuracies.retain > 0.9
    assert unlearned.accuracies.test > 0.85
    assert unlearned.against(target)["tow"] > before.against(target)["tow"]
    assert abs(unlearned.auc - target.auc) < abs(before.auc - target.auc)


def test_nothing_forgets_nothing(digits, forget, models):
    original, _ = models("mlp")
    plan = Plan.assign(forget, {"all": UNLEARNERS["nothing"]()})
    after = evaluate(unlearn(original, plan, digits.train, RUNTIME), digits, plan)
    assert after.against(evaluate(original, digits, plan))["tow"] == 1
