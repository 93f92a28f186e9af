import dataclasses

import numpy as np
import pytest

from rum_ray import config
from rum_ray.deletion.plan import break_even, cost_of, make_plan, subsets
from rum_ray.errors import ConfigError, PlanError
from rum_ray.scores import Scores
from rum_ray.search.auto import auto_plan
from rum_ray.unlearning import FineTune, Nothing, SalUn

TREE = {"name": "x", "data": "digits", "recipe": {"model": "mlp", "epochs": 10}}
PLAN = {"low": "nothing", "medium": {"name": "finetune", "epochs": 2}, "high": "salun"}


def experiment(**keys):
    return config.parse({**config.UNCHOSEN, **TREE, "plan": PLAN, **keys})


@pytest.fixture
def scores() -> Scores:
    return Scores(np.arange(160.0))


def test_a_request_is_split_by_score(bundle, scores):
    partition = subsets(experiment(), bundle, np.arange(0, 160, 5), scores)
    assert partition.names == ("low", "medium", "high")
    plan, source = make_plan(experiment(), partition, 160)
    assert source == "file"
    assert [type(step.unlearner) for step in plan.steps] == [Nothing, FineTune, SalUn]


@pytest.mark.parametrize(
    ("rows", "expected"), [([0], ["low"]), ([80], ["medium"]), ([159], ["high"])]
)
def test_few_rows_go_to_their_third_of_the_data(bundle, scores, rows, expected):
    partition = subsets(experiment(), bundle, np.array(rows), scores)
    assert list(partition.names) == expected
    plan, _ = make_plan(experiment(), partition, 160)
    assert len(plan.steps) == 1


def test_two_rows_of_two_thirds(bundle, scores):
    partition = subsets(
        experiment(order=["high", "medium", "low"]), bundle, np.array([3, 150]), scores
    )
    assert partition.names == ("high", "low")
    joint = {"low+high": {"name": "finetune"}, "medium": "nothing"}
    plan, _ = make_plan(experiment(plan=joint), partition, 160)
    assert [step.subset.name for step in plan.steps] == ["high+low"]
    plan, _ = make_plan(experiment(plan={"all": "finetune"}), partition, 160)
    assert [len(step.subset) for step in plan.steps] == [2]


def test_by_class_needs_no_scores(bundle, scores):
    own = experiment(refine="by_class", plan={"class0": "nothing", "class1": "nothing"})
    partition = subsets(own, bundle, np.flatnonzero(bundle.train.y.numpy() < 2), scores)
    assert partition.names == ("class0", "class1")
    with pytest.raises(PlanError, match="class2"):
        wrong = dataclasses.replace(own, plan={"class0": Nothing(), "class2": Nothing()})
        make_plan(wrong, partition, 160)


def test_what_a_request_cannot_have(bundle, scores):
    with pytest.raises(ConfigError, match="no distances"):
        subsets(experiment(refine="by_entanglement"), bundle, np.arange(9), scores)


@pytest.mark.parametrize("line", ["", "plan: auto", "plan: null"])
def test_without_a_plan_it_is_that_of_the_table(bundle, scores, line, tmp_path):
    file = tmp_path / "photos.yaml"
    file.write_text(f"name: x\ndata: digits\nrecipe: {{model: mlp, epochs: 10}}\n{line}\n")
    own = config.load(file, (), config.UNCHOSEN)
    partition = subsets(own, bundle, np.arange(9), scores)
    plan, source = make_plan(own, partition, 160)
    assert source == "auto"
    assert {step.subset.name: step.unlearner for step in plan.steps} == auto_plan(own.recipe)
    # A request of less than a thirtieth of D has the plan for small ones.
    few = subsets(own, bundle, np.array([0, 159]), scores)
    plan, source = make_plan(own, few, 160)
    assert source == "auto"
    small = auto_plan(own.recipe, 2 / 160)
    assert {step.unlearner for step in plan.steps} <= {*small.values()}
    assert small != auto_plan(own.recipe)


def test_the_cost_is_that_of_the_plan_and_two_passes(bundle, scores):
    own = experiment()
    partition = subsets(own, bundle, np.arange(30), scores)
    plan, _ = make_plan(own, partition, 160)
    retraining = 10 * 130
    cost = cost_of(own, plan, bundle, past=20)
    assert cost.plan == pytest.approx(plan.cost(160) / retraining)
    assert cost.measuring == pytest.approx(2 / 3 * (160 + 60 + 20) / retraining)
    assert cost.total == cost.plan + cost.measuring
    again = experiment(deletion={"reference": "retrain"})
    cost = cost_of(again, plan, bundle, past=20)
    assert cost.reference == 1
    assert cost.measuring == pytest.approx(2 / 3 * (2 * (160 + 60) + 20) / retraining)


@pytest.mark.parametrize(
    ("prepared", "each", "first"),
    [(22.0, 0.21, 28), (0.0, 0.5, 1), (1.0, 0.0, 2), (3.0, 0.99, 301), (1.0, 1.0, None)],
)
def test_the_break_even_is_the_first_number_that_is_cheaper(prepared, each, first):
    assert break_even(prepared, each) == first
    if first is not None:
        assert prepared + first * each < first
        assert first == 1 or prepared + (first - 1) * each >= first - 1 - 1e-9
