import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from rum_ray.data import LabeledData
from rum_ray.errors import DataError
from rum_ray.evaluation import Accuracies, Evaluation, evaluate, predict, tow, tow_mia
from rum_ray.evaluation.mia import auc_attack, svm_attack
from rum_ray.partition import Partition, Subset
from rum_ray.refinement import refine
from rum_ray.rum import Plan, unlearn
from rum_ray.scores import Scores
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import FineTune, Nothing


@pytest.fixture(scope="module")
def trained(bundle):
    return Recipe("mlp", epochs=10, batch_size=32).fit(bundle.train, LocalRuntime(Seed(0)))


@pytest.fixture
def plan() -> Plan:
    partition = refine(np.arange(0, 60, 2), Scores(np.arange(160)))
    return Plan.assign(partition, dict.fromkeys(partition.names, Nothing()))


def test_tow_is_its_formula():
    unlearned, retrained = Accuracies(0.8, 0.9, 0.7), Accuracies(0.5, 1.0, 0.75)
    assert tow(unlearned, retrained) == pytest.approx(0.7 * 0.9 * 0.95)
    assert tow_mia(unlearned, retrained, 0.4, 0.6) == pytest.approx(0.8 * 0.9 * 0.95)


@pytest.mark.parametrize("share", [84, -0.1, float("nan")])
def test_values_outside_of_0_to_1_are_errors(share):
    for place, name in enumerate(("forget", "retain", "test")):
        shares = [0.5, 0.5, 0.5]
        shares[place] = share
        with pytest.raises(ValueError, match=rf"\[0, 1\], got {name}={share}"):
            Accuracies(*shares)
    good = Accuracies(0.8, 0.9, 0.7)
    for answers in ((share, 0.5), (0.5, share)):
        with pytest.raises(ValueError, match=rf"\[0, 1\], got (un|re)\w+={share}"):
            tow_mia(good, good, *answers)


def test_tow_of_the_original_is_the_product_of_its_gaps():
    original, retrained = Accuracies(1.0, 1.0, 0.9), Accuracies(0.6, 0.99, 0.88)
    assert tow(original, retrained) == pytest.approx((1 - 0.4) * (1 - 0.01) * (1 - 0.02))


def test_predictions_are_the_softmax_of_the_logits(bundle, trained):
    with torch.inference_mode():
        logits = trained(bundle.train.x).double().numpy()
    p = predict(trained, bundle.train)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1)


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_predictions_do_not_depend_on_order_or_batch(bundle, runtime, name):
    model = Recipe(name, epochs=2, batch_size=32).fit(bundle.train, runtime)
    data = LabeledData(torch.cat([bundle.train.x] * 3)[:400], torch.zeros(400))
    p, order = predict(model, data), runtime.seed.permutation(400)
    shuffled = predict(model, data.take(order))
    np.testing.assert_allclose(shuffled, p[order], rtol=1e-5)
    assert np.array_equal(shuffled.argmax(axis=1), p[order].argmax(axis=1))
    # At the same position of a batch, an example has the same bits in any company.
    for count in (1, 17, 251, 399):
        rows = np.arange(count)
        rows[: count // 2] = 0
        assert np.array_equal(predict(model, data.take(rows))[count // 2 :], p[count // 2 : count])


def test_predicting_ends_in_eval_mode_and_reads_bytes(bundle, trained):
    pixels = (bundle.train.x.clamp(0, 1) * 255).to(torch.uint8)
    as_bytes = LabeledData(pixels, bundle.train.y)
    as_floats = LabeledData(pixels / 255, bundle.train.y)
    trained.train()
    assert np.array_equal(predict(trained, as_bytes), predict(trained, as_floats))
    assert not trained.training


class Counting(nn.Module):
    """Class = the first pixel; the probability of it, the second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        x = x.flatten(1)
        rest = torch.log((1 - x[:, 1:2]) / 3).expand(-1, 4).clone()
        return rest.scatter(1, x[:, :1].long(), torch.log(x[:, 1:2]))


def made_up(bundle, name: str, wrong: list[int]):
    data, certain = getattr(bundle, name), 0.4 + 0.5 * torch.arange(160) / 160
    guess = data.y.clone()
    guess[wrong] = (guess[wrong] + 1) % 4
    x = torch.stack([guess.float(), certain[: len(data)]], dim=1)
    return replace(data, x=x)


def test_an_evaluation_is_its_definition(bundle, plan):
    wrong = {"train": [0, 2, 20, 41, 43, 101], "valid": [1, 2], "test": [3, 4, 5]}
    bundle = replace(bundle, **{name: made_up(bundle, name, rows) for name, rows in wrong.items()})
    result = evaluate(Counting(), bundle, plan, cost=0.25, seconds=3.0)
    assert result.accuracies == Accuracies(27 / 30, 127 / 130, 57 / 60)
    assert result.subsets == {"low": 8 / 10, "medium": 9 / 10, "high": 1.0}
    assert (result.cost, result.seconds) == (0.25, 3.0)
    assert {name: p.shape for name, p in result.probabilities.items()} == {
        "forget": (30, 4),
        "retain": (130, 4),
        "test": (60, 4),
    }
    assert all(p.dtype == np.float32 for p in result.probabilities.values())
    assert np.array_equal(result.predicted["test"], bundle.test.x[:, 0].numpy())
    forget = plan.partition.rows
    assert np.array_equal(result.predicted["forget"], bundle.train.x[forget, 0].numpy())
    valid = evaluate(Counting(), bundle, plan.partition, "valid")
    assert valid.accuracies == Accuracies(27 / 30, 127 / 130, 38 / 40)
    assert valid.cost is valid.seconds is None


def test_attacks_compare_with_non_members_of_the_same_label_process(bundle, trained, plan):
    result = evaluate(trained, bundle, plan)
    forget = plan.partition.rows
    p, unseen = predict(trained, bundle.train), predict(trained, bundle.test)
    y, noisy = bundle.train.y.numpy(), bundle.nonmembers("test").y.numpy()
    assert (noisy != bundle.test.y.numpy()).sum() == 6
    targets, unseen = (p[forget].astype("f4"), y[forget]), unseen.astype("f4")
    assert result.auc == auc_attack(targets, (unseen, noisy))
    clean = auc_attack(targets, (unseen, bundle.test.y.numpy()))
    assert result.auc != clean


def test_members_are_a_sample_of_the_retain_set_the_same_for_every_model(
    bundle, trained, plan, monkeypatch
):
    calls = []

    def spy(*sets):
        calls.append(sets)
        return svm_attack(*sets)

    # The module has the name of a function that its package exports.
    monkeypatch.setattr(sys.modules["rum_ray.evaluation.tow"], "svm_attack", spy)
    p, forget = predict(trained, bundle.train).astype("f4"), plan.partition.rows
    result = evaluate(trained, bundle, plan)
    evaluate(Recipe("mlp").build(bundle.train, Seed(5)), bundle, plan)
    (members, others, targets), (again, *_) = calls
    assert result.mia == svm_attack(members, others, targets)
    assert np.array_equal(others[1], bundle.nonmembers("test").y.numpy())
    assert np.array_equal(targets[0], p[forget])
    assert np.array_equal(members[1], again[1])
    retain = np.delete(p, forget, axis=0)
    assert not np.array_equal(members[0], retain[:60])
    known = {row.tobytes() for row in retain}
    assert len({row.tobytes() for row in members[0]} & known) == len(others[1]) == 60
    # The paper's code takes the first.
    evaluate(trained, bundle, plan, members="first")
    assert np.array_equal(calls[-1][0][0], retain[:60])
    assert np.array_equal(result.sample("first"), np.arange(60))
    sampled = result.pair("retain", result.sample())
    assert all(map(np.array_equal, sampled, members))


def test_members_are_all_of_a_small_retain_set(bundle, trained):
    # R smaller than T: all of it.
    most = Partition((Subset("all", range(130)),))
    result = evaluate(trained, bundle, most)
    assert 0 <= result.mia <= 1


class Trap:
    """Test data that nothing may read before the report."""

    def __getattr__(self, name):
        raise AssertionError(f"test data was read: {name}")


def test_a_search_does_not_read_test_data(bundle, trained, plan):
    guarded = replace(bundle, test=Trap())
    assert evaluate(trained, guarded, plan, "valid").accuracies.test > 0.5
    with pytest.raises(AssertionError, match="test data was read"):
        evaluate(trained, guarded, plan)


def certain(forget: list[int], retain: list[int], test: list[int]) -> dict[str, np.ndarray]:
    """Probabilities of models that are certain of these classes."""
    sets = {"forget": forget, "retain": retain, "test": test}
    return {name: np.eye(4, dtype=np.float32)[classes] for name, classes in sets.items()}


def evaluation(**changes) -> Evaluation:
    fields = {
        "accuracies": Accuracies(0.8, 0.9, 0.7),
        "subsets": {"low": 0.9, "high": 0.7},
        "mia": 0.4,
        "auc": 0.6,
        "probabilities": certain([0, 1, 2, 3], [0, 1], [1, 1]),
        "labels": {"forget": np.array([0, 1, 2, 3]), "test": np.array([1, 1])},
        "places": {"low": np.array([0, 1]), "high": np.array([2, 3])},
    }
    return Evaluation(**fields | changes)


def test_against_gives_the_metrics_of_the_report():
    retrained = evaluation(
        accuracies=Accuracies(0.5, 1.0, 0.75),
        mia=0.55,
        auc=0.5,
        probabilities=certain([0, 1, 0, 0], [0, 1], [1, 0]),
        relearned=0.5,
    )
    assert evaluation(cost=0.2, seconds=7.0, relearned=0.75).against(retrained) == pytest.approx(
        {
            "tow": 0.7 * 0.9 * 0.95,
            "tow_mia": 0.85 * 0.9 * 0.95,
            "mia": 0.4,
            "mia_gap": 0.15,
            "auc": 0.6,
            "auc_gap": 0.1,
            "forget_accuracy": 0.8,
            "retain_accuracy": 0.9,
            "test_accuracy": 0.7,
            "disagreement_forget": 0.5,
            "disagreement_retain": 0.0,
            "disagreement_test": 0.5,
            "disagreement_low": 0.0,
            "disagreement_high": 1.0,
            # Two certain and different predictions diverge by one bit.
            "js_forget": 0.5,
            "js_retain": 0.0,
            "js_test": 0.5,
            "js_low": 0.0,
            "js_high": 1.0,
            "tow_examples": 0.25,
            "relearned_forget_accuracy": 0.75,
            "relearned_gap": 0.25,
            "forget_accuracy_low": 0.9,
            "forget_accuracy_high": 0.7,
            # Ours is certain of all; the retrained one of low and of one of two non-members.
            "auc_low": 0.5,
            "auc_gap_low": 0.25,
            "auc_high": 0.5,
            "auc_gap_high": 0.25,
            "cost": 0.2,
            "seconds": 7.0,
        }
    )


@pytest.mark.parametrize(
    "others",
    [
        {"probabilities": certain([0, 1, 2], [0, 1], [1, 1])},
        {"probabilities": certain([0, 1, 2, 3], [0, 1], [1])},
        {"labels": {"forget": np.array([0, 1, 2, 2]), "test": np.array([1, 1])}},
    ],
)
def test_models_are_compared_on_the_same_examples(others):
    ours = evaluation()
    ours.against(evaluation())
    for pair in ((ours, evaluation(**others)), (evaluation(**others), ours)):
        with pytest.raises(DataError, match=r"^the (forget|test) sets .* differ"):
            pair[0].against(pair[1])


def test_an_unknown_split_is_an_error(bundle, trained, plan):
    with pytest.raises(ValueError, match="split must be valid or test, got 'tset'"):
        evaluate(trained, bundle, plan, "tset")


def test_a_plan_of_other_data_is_an_error(bundle, trained):
    for rows in ([0, 160], [500, 501]):
        with pytest.raises(DataError, match=rf"0 \.\. 159; .* {rows[0]} \.\. {rows[1]}"):
            evaluate(trained, bundle, Partition((Subset("all", rows),)))


def test_against_itself_is_perfect(bundle, trained, plan):
    # T2
    result = evaluate(trained, bundle, plan)
    metrics = result.against(evaluate(trained, bundle, plan))
    assert (metrics["tow"], metrics["tow_mia"], metrics["tow_examples"]) == (1, 1, 1)
    kinds = ("disagreement", "js_")
    zero = [name for name in metrics if name.startswith(kinds) or name.endswith("_gap")]
    assert len(zero) == 2 + 2 * (3 + 3)
    assert all(metrics[name] == 0 for name in zero)
    assert "cost" not in metrics
    assert "seconds" not in metrics


def test_a_different_model_has_lower_scores(bundle, trained, plan, runtime):
    partition = plan.partition
    other = FineTune(lr=0.5, epochs=3)
    steps = Plan.assign(partition, dict.fromkeys(partition.names, other))
    changed = unlearn(trained, steps, bundle.train, runtime)
    metrics = evaluate(changed, bundle, steps).against(evaluate(trained, bundle, plan))
    assert metrics["tow"] < 1
    assert metrics["disagreement_forget"] > 0
