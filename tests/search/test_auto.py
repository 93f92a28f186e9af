"""The plan `auto`: relative steps become unlearners of a recipe."""

import dataclasses

import numpy as np
import pytest
import yaml

from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.jobs.evaluate import relative_cost
from rum_ray.partition import Partition, Subset
from rum_ray.rum import Plan
from rum_ray.search.auto import SUBSETS, RelativeStep, auto_plan, relative_plans
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import FineTune, Nothing, SalUn

RECIPES = [
    Recipe("mlp", epochs=60, lr=0.1),
    Recipe("small_cnn", epochs=8, lr=0.002, batch_size=16),
    Recipe("resnet18", epochs=200, lr=1.0),
]
TREE = {
    "name": "request",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 30, "lr": 0.05},
    "score": {"name": "confidence"},
    "forget": {"size": 30, "pick": "random"},
    "plan": "auto",
}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.model)
@pytest.mark.parametrize("share", relative_plans())
def test_the_plan_forgets_each_subset_once_for_little(recipe, share):
    forgotten = round(1200 * share)
    parts = zip(SUBSETS, np.split(np.arange(forgotten), 3), strict=True)
    partition = Partition(tuple(Subset(name, rows) for name, rows in parts))
    plan = Plan.assign(partition, auto_plan(recipe, share))
    assert sorted(np.concatenate([s.subset.rows for s in plan.steps])) == [*range(forgotten)]
    assert relative_cost(plan, recipe, 1200) <= 0.3
    assert not all(isinstance(step.unlearner, Nothing) for step in plan.steps)


def test_values_are_relative_to_the_recipe():
    step = RelativeStep("high", "salun", lr=0.5, epochs=0.1, values={"keep": 0.3})
    recipe = Recipe("mlp", epochs=60, lr=0.2)
    assert step.at(recipe) == SalUn(lr=0.1, epochs=6, keep=0.3)
    step = dataclasses.replace(step, repair=0.05)
    assert step.at(recipe) == SalUn(lr=0.1, epochs=6, keep=0.3, repair=3)
    # At least one epoch.
    few = dataclasses.replace(recipe, epochs=4)
    assert RelativeStep("low", "finetune", lr=1.0, epochs=0.1).at(few) == FineTune(lr=0.2, epochs=1)
    assert RelativeStep("low", "nothing").at(recipe) == Nothing()


def test_the_plan_is_that_of_the_nearest_share():
    small, large = (auto_plan(RECIPES[0], share) for share in (0.01, 0.1))
    assert small != large
    assert auto_plan(RECIPES[0]) == large
    for share, plan in ((1e-6, small), (0.03, small), (0.033, large), (1.0, large)):
        assert auto_plan(RECIPES[0], share) == plan, share


@pytest.mark.parametrize("step", [step for plan in relative_plans().values() for step in plan])
def test_learning_rates_follow_the_recipe(step):
    low, high = (step.at(Recipe("mlp", lr=lr)) for lr in (0.01, 0.1))
    if step.lr is not None:
        assert high.lr == pytest.approx(10 * low.lr)
        assert dataclasses.replace(high, lr=low.lr) == low


def test_a_file_may_say_auto():
    experiment = config.parse(TREE)
    assert experiment.plan == auto_plan(experiment.recipe)
    assert experiment.order == tuple(experiment.plan)
    # The values stand in the experiment, so a later table changes no earlier result.
    assert config.parse(yaml.safe_load(config.dump(experiment))) == experiment


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        (["refine={name: by_score, into: [easy, hard]}"], "plan: auto"),
        (["refine=by_class"], "plan: auto"),
        (["refine=shuffle"], "plan: auto"),
        (["order=[high, low, medium]"], "order: plan: auto"),
    ],
)
def test_auto_is_for_low_medium_and_high_by_score(changes, place):
    with pytest.raises(ConfigError, match=place) as caught:
        config.parse(TREE, changes)
    assert caught.value.exit_code == 2
