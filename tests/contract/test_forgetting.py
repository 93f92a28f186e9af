"""What each unlearner is for, on real data: 120 digits with wrong labels, learned by heart."""

import functools

import numpy as np
import pytest

from rum_ray.data import load
from rum_ray.evaluation import evaluate
from rum_ray.rum import Partition, Plan, Subset, unlearn
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import UNLEARNERS

RECIPE = Recipe("mlp", epochs=80, lr=0.1, batch_size=64)
RUNTIME = LocalRuntime(Seed(0))
CONVOLUTIONAL = Recipe("small_cnn", epochs=10, lr=0.1, batch_size=64)
SETTINGS = [
    ("retrain", {"recipe": RECIPE}),
    ("finetune", {"lr": 0.1}),
    ("l1_sparse", {"lr": 0.1, "alpha": 5e-4}),
    ("neggrad", {"lr": 0.007}),
    ("neggrad+", {"lr": 0.05, "epochs": 3}),
    ("scrub", {"lr": 0.1, "alpha": 0.05}),
    ("random_label", {"lr": 0.1}),
    ("salun", {"lr": 0.1}),
    ("influence", {"alpha": 5.0}),
    ("influence", {"alpha": 0.5, "mode": "fisher", "damping": 0.01}),
    ("bad_teacher", {"lr": 0.1}),
    ("ssd", {"alpha": 25.0}),
    ("msg", {"lr": 0.1}),
    ("ct", {"lr": 0.1}),
]


@pytest.fixture(scope="module")
def digits():
    return load("digits", label_noise=0.1)


@pytest.fixture(scope="module")
def forget(digits) -> Partition:
    return Partition((Subset("all", np.flatnonzero(digits.flipped)),))


@pytest.fixture(scope="module")
def models(digits, forget):
    """By recipe, the original and the retrained model."""

    @functools.cache
    def trained(recipe):
        data = (digits.train, digits.train.without(forget.rows))
        return [recipe.fit(part, RUNTIME) for part in data]

    return trained


@pytest.mark.parametrize(("recipe", "learned"), [(RECIPE, 0.8), (CONVOLUTIONAL, 0.6)])
def test_there_is_something_to_forget(digits, forget, models, recipe, learned):
    known, unknown = (evaluate(m, digits, forget).accuracies for m in models(recipe))
    assert known.forget > learned
    assert unknown.forget < 0.1
    assert min(known.retain, unknown.retain) > 0.99
    assert min(known.test, unknown.test) > 0.94


def test_every_unlearner_is_here():
    assert {name for name, _ in SETTINGS} == UNLEARNERS.keys() - {"nothing"}


@pytest.mark.parametrize(("name", "fields"), SETTINGS)
def test_the_forget_accuracy_moves_to_the_retrained_model_s(name, fields, digits, forget, models):
    original, retrained = models(CONVOLUTIONAL if name == "ct" else RECIPE)
    plan = Plan.assign(forget, {"all": UNLEARNERS[name](**fields)})
    unlearned = evaluate(unlearn(original, plan, digits.train, RUNTIME), digits, plan)
    before, target = (evaluate(model, digits, plan) for model in (original, retrained))
    gaps = [abs(e.accuracies.forget - target.accuracies.forget) for e in (unlearned, before)]
    assert gaps[0] < 0.5 * gaps[1], "less than half of the way"
    assert unlearned.accuracies.retain > 0.9
    assert unlearned.accuracies.test > 0.85
    assert unlearned.against(target)["tow"] > before.against(target)["tow"]
    assert abs(unlearned.auc - target.auc) < abs(before.auc - target.auc)


def test_nothing_forgets_nothing(digits, forget, models):
    original, _ = models(RECIPE)
    plan = Plan.assign(forget, {"all": UNLEARNERS["nothing"]()})
    after = evaluate(unlearn(original, plan, digits.train, RUNTIME), digits, plan)
    assert after.against(evaluate(original, digits, plan))["tow"] == 1
