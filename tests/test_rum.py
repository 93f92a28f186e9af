import pickle

import numpy as np
import pytest
import torch
from reference import unlearning as reference

from rum_ray.data import LabeledData, load
from rum_ray.errors import DataError, DivergedError, PlanError
from rum_ray.evaluation import evaluate
from rum_ray.partition import Partition, Subset
from rum_ray.refinement import forget_set, refine
from rum_ray.rum import Plan, Step, unlearn
from rum_ray.scores import Scores
from rum_ray.seeding import Seed
from rum_ray.testing import memory, same_bits, sensitive_model
from rum_ray.training import Recipe
from rum_ray.training.prediction import check_classes
from rum_ray.unlearning import FineTune, NegGradPlus, Nothing, RandomLabel, Retrain, SalUn
from rum_ray.unlearning.base import UnlearningTask

LOW, MEDIUM, HIGH = Subset("low", [0, 5, 9]), Subset("medium", [1, 2]), Subset("high", [7])
THREE = Partition((LOW, MEDIUM, HIGH))


def plan(*unlearners, retain="remaining") -> Plan:
    steps = zip(THREE, unlearners, strict=False)
    return Plan(tuple(Step(*step) for step in steps), retain)


def test_subsets_are_values():
    assert Subset("low", [1, 2]) == Subset("low", np.array([1, 2]))
    assert hash(Subset("low", [1, 2])) == hash(Subset("low", np.array([1, 2])))
    assert Subset("low", [1, 2]) != Subset("low", [1, 3])
    assert Subset("low", [1, 2]) != Subset("high", [1, 2])
    assert Subset("low", [1, 2]) != "low"
    assert pickle.loads(pickle.dumps(THREE)) == THREE
    assert LOW.rows.dtype == np.int64
    assert len(LOW) == 3


def test_a_partition_keeps_its_order():
    assert [subset.name for subset in THREE] == list(THREE.names) == ["low", "medium", "high"]
    assert len(THREE) == 3
    assert THREE.rows.tolist() == [0, 1, 2, 5, 7, 9]
    assert Partition((HIGH, LOW)) != Partition((LOW, HIGH))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Subset("low", []), r"subset 'low' is empty; a subset needs at least one example"),
        (lambda: Subset("low", [2, 1]), r"the rows of subset 'low' must be sorted and unique"),
        (lambda: Subset("low", [1, 1]), r"the rows of subset 'low' must be sorted and unique"),
        (lambda: Subset("a", [-1, 3]), r"rows of subset 'a' .* 0 or more; .* -1 \.\. 3"),
        (
            lambda: Subset("a", [1.5, 2.5]),
            r"subset 'a' must be integers \[N\]; got float64",
        ),
        (lambda: Partition((LOW, Subset("low", [3]))), r"same name; the names are low, low"),
        (
            lambda: Partition((LOW, Subset("x", [5]))),
            r"subsets overlap",
        ),
        (lambda: Partition(()), r"partition .*at least one subset"),
        (lambda: Plan(()), r"plan .*at least one step"),
        (
            lambda: plan(Nothing(), retain="all"),
            r"^retain .* 'remaining' or 'final', got 'all'",
        ),
        (
            lambda: Plan((Step(LOW, Nothing()), Step(Subset("x", [9]), Nothing()))),
            r"subsets overlap",
        ),
    ],
)
def test_bad_partitions_and_plans(make, message):
    with pytest.raises(PlanError, match=message):
        make()


def test_assign_follows_the_partition_not_the_mapping():
    made = Plan.assign(THREE, {"high": SalUn(), "low": Nothing(), "medium": FineTune()})
    assert made == plan(Nothing(), FineTune(), SalUn())
    assert made.partition == THREE
    assert Plan.assign(THREE, dict.fromkeys(THREE.names, SalUn()), "final").retain == "final"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("low", "med", "high"),
            r"subset 'med', .*low, medium, high.*'medium'",
        ),
        (("low", "medium", "high", "zzz"), r"subset 'zzz', .*low, medium, high"),
        (
            ("low", "high"),
            r"subset 'medium'.*low, medium, high.*'nothing'",
        ),
    ],
)
def test_assign_needs_one_unlearner_per_subset(names, message):
    with pytest.raises(PlanError, match=message):
        Plan.assign(THREE, dict.fromkeys(names, Nothing()))


@pytest.mark.parametrize("wrong", ["nothing", Nothing, None, 3])
def test_assign_accepts_instances_of_unlearners_only(wrong):
    with pytest.raises(PlanError, match=r"^subset 'high': .*unlearner"):
        Plan.assign(THREE, {"low": Nothing(), "medium": Nothing(), "high": wrong})


def test_retained_rows():
    steps = (Nothing(), Nothing(), Nothing())
    remaining, final = plan(*steps), plan(*steps, retain="final")
    assert remaining.retain_rows(0, 10).tolist() == [1, 2, 3, 4, 6, 7, 8]
    assert remaining.retain_rows(1, 10).tolist() == [3, 4, 6, 7, 8]
    assert remaining.retain_rows(2, 10).tolist() == [3, 4, 6, 8]
    assert [final.retain_rows(step, 10).tolist() for step in range(3)] == [[3, 4, 6, 8]] * 3


def test_retained_sizes_of_the_paper():
    # T4, T5: 45,000 examples, 3,000 of them forgotten in three subsets of 1,000.
    scores = Scores(Seed(0).uniform(45_000))
    forget = forget_set(scores, 3000)
    partition = refine(forget, scores)
    assert [len(subset) for subset in partition] == [1000] * 3
    assert np.array_equal(partition.rows, forget)
    for subset, pick in zip(partition, ("low", "medium", "high"), strict=True):
        assert np.array_equal(subset.rows, forget_set(scores, 1000, pick))
    steps = Plan.assign(partition, dict.fromkeys(partition.names, Nothing()))
    sizes = [len(steps.retain_rows(step, 45_000)) for step in range(3)]
    assert sizes == [44_000, 43_000, 42_000]
    final = Plan(steps.steps, "final")
    assert [len(final.retain_rows(step, 45_000)) for step in range(3)] == [42_000] * 3


def test_the_cost_of_a_plan_is_that_of_its_steps():
    made = plan(Nothing(), FineTune(epochs=2), SalUn(epochs=3))
    assert made.cost(100) == 0 + 2 * 95 + (3 * (1 + 94) + 1)
    final = plan(FineTune(epochs=2), FineTune(epochs=2), Nothing(), retain="final")
    assert final.cost(100) == 2 * (2 * 94)


def test_a_plan_of_one_step_is_that_unlearner(bundle, model, runtime):
    unlearner = SalUn(lr=0.1, epochs=2)
    train = bundle.train
    task = UnlearningTask(train.take(LOW.rows), train.without(LOW.rows), original=model)
    expected = unlearner(model, task, runtime / "step0")
    assert same_bits(unlearn(model, plan(unlearner), train, runtime), expected)


def test_steps_run_in_order_with_the_first_model_as_original(bundle, model, runtime):
    # Each unlearner starts from the model before it, and SalUn's mask is that of the original.
    made = plan(FineTune(lr=0.1), Nothing(), SalUn(lr=0.1, keep=0.3))
    train, expected = bundle.train, model
    for index, rows in ((0, LOW.rows), (2, HIGH.rows)):
        retain = made.retain_rows(index, 160)
        task = UnlearningTask(train.take(rows), train.take(retain), original=model)
        step = made.steps[index].unlearner
        expected = step(expected, task, runtime / f"step{index}")
    assert same_bits(unlearn(model, made, train, runtime), expected)


def test_nothing_leaves_the_model_unchanged(bundle, model, runtime):
    result = unlearn(model, plan(Nothing(), Nothing(), Nothing()), bundle.train, runtime)
    assert same_bits(result, model)
    assert not memory(result) & memory(model)
    assert not result.training


def test_nothing_does_not_change_other_steps(bundle, model, runtime):
    # This holds for a last step; before others, it takes its subset out of their retain set.
    one = unlearn(model, plan(FineTune(lr=0.1)), bundle.train, runtime)
    two = unlearn(model, plan(FineTune(lr=0.1), Nothing()), bundle.train, runtime)
    assert same_bits(one, two)


def test_the_original_is_unchanged(bundle, model, runtime):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = unlearn(model.train(), plan(RandomLabel(lr=0.1)), bundle.train, runtime)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not memory(result) & memory(model)


def test_the_order_of_subsets_matters(bundle, model, runtime):
    steps = plan(NegGradPlus(lr=0.1), NegGradPlus(lr=0.1), NegGradPlus(lr=0.1)).steps
    results = [unlearn(model, Plan(order), bundle.train, runtime) for order in (steps, steps[::-1])]
    assert not same_bits(*results)


def test_the_retain_rule_matters_and_reaches_the_unlearner(bundle, model, runtime):
    # Later subsets are retain data under "remaining" only; one batch per step, by the formula.
    unlearner = FineTune(lr=0.2, epochs=1, batch_size=160)
    for rule, forgotten in (("remaining", LOW.rows), ("final", THREE.rows)):
        made = plan(unlearner, Nothing(), Nothing(), retain=rule)
        task = UnlearningTask(
            bundle.train.take(LOW.rows), bundle.train.without(forgotten), original=model
        )
        literal = reference.finetune(unlearner, model, task)
        reference.check(unlearn(model, made, bundle.train, runtime), literal, model)


def test_retrain_as_a_last_step_is_retraining(bundle, model, runtime):
    recipe = Recipe("mlp", epochs=2)
    made = plan(FineTune(lr=0.1), SalUn(lr=0.1), Retrain(recipe=recipe))
    expected = recipe.fit(bundle.train.without(THREE.rows), runtime / "step2")
    assert same_bits(unlearn(model, made, bundle.train, runtime), expected)


def test_rows_outside_the_training_set(bundle, model, runtime):
    made = Plan((Step(Subset("all", [0, 160]), Nothing()),))
    with pytest.raises(PlanError, match=r"rows 0 \.\. 160; .* 0 \.\. 159"):
        unlearn(model, made, bundle.train, runtime)


@pytest.mark.parametrize("classes", [3, 5])
def test_a_model_with_another_number_of_classes(bundle, runtime, classes):
    others = LabeledData(bundle.train.x, bundle.train.y % 3, num_classes=classes)
    wrong = Recipe("mlp").build(others, Seed(0))
    message = rf"{classes} logits .* 4 classes"
    made = plan(FineTune())
    with pytest.raises(DataError, match=message):
        unlearn(wrong, made, bundle.train, runtime)
    with pytest.raises(DataError, match=message):
        evaluate(wrong, bundle, made)


def test_the_check_of_classes_changes_no_state(bundle):
    net = sensitive_model(0)
    net.features[1].train()  # a part in another mode than the rest
    modes, state = [m.training for m in net.modules()], torch.get_rng_state()
    check_classes(net, load("digits").train)
    with pytest.raises(DataError, match=r"10 logits .* 4 classes"):
        check_classes(net, bundle.train)
    assert same_bits(net, sensitive_model(0))
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_an_empty_retain_set_is_an_error(bundle, model, runtime):
    made = Plan((Step(Subset("all", range(160)), FineTune()),))
    with pytest.raises(PlanError, match=r"^finetune: .*retain set"):
        unlearn(model, made, bundle.train, runtime)


def test_a_diverging_step_is_an_error(bundle, model, runtime):
    with pytest.raises(DivergedError, match=r"^finetune .* loss of"):
        unlearn(model, plan(FineTune(lr=1e38)), bundle.train, runtime)
