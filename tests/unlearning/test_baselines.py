import numpy as np
import pytest

from rum_ray.errors import PlanError
from rum_ray.testing import same_bits
from rum_ray.training import Recipe
from rum_ray.unlearning import Nothing, Retrain

RECIPE = Recipe("mlp", epochs=2, batch_size=32)


def test_nothing_returns_a_copy(model, task, runtime):
    result = Nothing()(model.train(), task, runtime)
    assert result is not model
    assert same_bits(result, model)
    assert (model.training, result.training) == (True, False)


def test_retrain_is_the_recipe_on_the_retain_set_alone(model, task, runtime):
    result = Retrain(recipe=RECIPE)(model, task, runtime)
    assert same_bits(result, RECIPE.fit(task.retain, runtime))
    other = type(task)(task.forget.relabeled(np.zeros(40)), task.retain, model)
    assert same_bits(Retrain(recipe=RECIPE)(task.original, other, runtime), result)


def test_retrain_has_the_initial_weights_of_its_seed(task, runtime):
    # With a vanishing step and no weight decay, the result has the initial weights.
    still = Recipe("mlp", epochs=1, lr=1e-30, weight_decay=0.0)
    retrained = Retrain(recipe=still)(task.original, task, runtime)
    assert same_bits(retrained, still.fit(task.forget, runtime))


def test_retrain_needs_a_recipe(model, task, runtime):
    with pytest.raises(PlanError, match=r"^retrain .*recipe"):
        Retrain()(model, task, runtime)
    with pytest.raises(PlanError, match=r"^retrain .*recipe"):
        Retrain().cost(1, 2)


def test_cost():
    assert Nothing().cost(10, 100) == 0
    assert Retrain(recipe=RECIPE).cost(10, 100) == 200
