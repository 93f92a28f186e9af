import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import training as reference
from reference.unlearning import check

from rum_ray.data import LabeledData
from rum_ray.errors import ConfigError, DivergedError
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.seeding import Seed
from rum_ray.testing import CrashingRuntime, same_bits
from rum_ray.training import LocalRuntime, Recipe

SMALL = Recipe("mlp", epochs=3, lr=0.1, batch_size=64)


@pytest.fixture
def data(bundle):
    return bundle.train


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_fit_is_the_literal_loop(data, runtime, schedule):
    recipe = replace(SMALL, schedule=schedule)
    start = recipe.build(data, runtime.seed / "init")
    check(recipe.fit(data, runtime), reference.fit(recipe, data, runtime.seed), start)


def test_learning_rates():
    rates = [Recipe("mlp", epochs=4, lr=0.2).learning_rate(epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.2, 0.1 + 0.1 / math.sqrt(2), 0.1, 0.1 - 0.1 / math.sqrt(2), 0])
    constant = Recipe("mlp", epochs=4, lr=0.2, schedule="constant")
    assert [constant.learning_rate(epoch) for epoch in range(4)] == [0.2] * 4


def test_initial_weights_depend_on_the_seed_not_on_the_data(data, runtime):
    still = replace(SMALL, epochs=1, lr=1e-30, weight_decay=0.0)
    built = still.build(data, runtime.seed / "init")
    assert same_bits(still.fit(data, runtime), built)
    assert same_bits(still.fit(data.take(range(50)), runtime), built)
    assert not same_bits(still.fit(data, LocalRuntime(Seed(1))), built)


def test_all_draws_come_from_the_seed(data, runtime):
    recipe = replace(SMALL, model="reference.training:forgetful")
    with torch.random.fork_rng():
        models = []
        for seed in (1, 2):
            state = torch.manual_seed(seed).get_state()
            models.append(recipe.fit(data, runtime))
            assert torch.equal(torch.get_rng_state(), state)
    assert same_bits(*models)
    assert not same_bits(models[0], recipe.fit(data, LocalRuntime(Seed(1))))


def test_dropout_differs_between_epochs(data, runtime):
    same = data.take([0] * 64)  # Equal examples, so that their order does not matter.
    seen = []
    still = Recipe("reference.training:forgetful", epochs=2, lr=1e-30, weight_decay=0.0)
    still.fit(same, runtime, lambda rows, logits, labels: seen.append(logits))
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_the_result_is_in_eval_mode(data, runtime):
    assert not any(module.training for module in SMALL.fit(data, runtime).modules())


def test_observe_gets_each_example_once_per_epoch_and_changes_nothing(data, runtime):
    seen = []

    def observe(rows, logits, labels):
        assert not logits.requires_grad
        assert torch.equal(labels, data.y[rows])
        seen.append((rows, logits))

    model = SMALL.fit(data, runtime, observe)
    assert [len(rows) for rows, _ in seen] == [64, 64, 32] * 3
    for epoch in range(3):
        rows = torch.cat([rows for rows, _ in seen[3 * epoch : 3 * epoch + 3]])
        assert torch.equal(rows.sort().values, torch.arange(160))
    # The first logits are those of the initial weights, before the first step.
    rows, logits = seen[0]
    torch.testing.assert_close(logits, SMALL.build(data, runtime.seed / "init")(data.x[rows]))
    assert same_bits(model, SMALL.fit(data, runtime))


@pytest.mark.parametrize("model", ["mlp", "reference.training:forgetful"])
def test_a_crash_after_any_epoch_changes_no_bit(data, runtime, model):
    recipe = replace(SMALL, model=model)
    expected = recipe.fit(data, runtime, events := LearningEvents(160))
    for epochs in (1, 2, 3):
        crashing = CrashingRuntime(Seed(0), crash=epochs)
        with pytest.raises(InterruptedError):
            recipe.fit(data, crashing, LearningEvents(160))
        resumed = LearningEvents(160)
        assert same_bits(recipe.fit(data, replace(crashing, crash=None), resumed), expected)
        assert torch.equal(resumed.sums, events.sums)
        assert resumed.visits.tolist() == [3] * 160


def test_augmentation_and_precision_change_the_result(bundle, runtime):
    plain = Recipe("small_cnn", epochs=1, batch_size=64)
    results = [
        recipe.fit(bundle.train, runtime)
        for recipe in (plain, replace(plain, augment=True), replace(plain, precision="bfloat16"))
    ]
    assert not same_bits(results[0], results[1])
    assert not same_bits(results[0], results[2])
    assert all(p.dtype == torch.float32 for p in results[2].parameters())


def test_half_precision_gives_float32_logits(data, runtime):
    kinds = set()
    recipe = replace(SMALL, epochs=1, precision="bfloat16")
    recipe.fit(data, runtime, lambda rows, logits, labels: kinds.add(logits.dtype))
    assert kinds == {torch.float32}


def test_vectors_are_valid_inputs(data, runtime):
    vectors = LabeledData(data.x.flatten(1), data.y)
    model = replace(SMALL, epochs=20).fit(vectors, runtime)
    assert float((model(vectors.x).argmax(1) == vectors.y).float().mean()) > 0.85


def test_a_loss_that_is_not_finite_is_a_diverged_error(data, runtime):
    with pytest.raises(DivergedError, match=r"mlp .*(inf|nan) in epoch [01]\b.*1e\+30"):
        replace(SMALL, lr=1e30, schedule="constant").fit(data, runtime)


def test_weights_that_are_not_finite_are_a_diverged_error(data, runtime):
    recipe = Recipe("mlp", epochs=1, lr=float("inf"), batch_size=160)
    with pytest.raises(DivergedError, match=r"mlp .*\(features\.1\.weight\)"):
        recipe.fit(data, runtime)


def test_an_unknown_model_is_an_error_with_the_closest_name(data, runtime):
    with pytest.raises(ConfigError, match=r"'resnet1'.*'resnet18'\?"):
        Recipe("resnet1").fit(data, runtime)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("lr", -0.1),
        ("lr", float("nan")),
        ("batch_size", 0),
        ("threads", 0),
        ("momentum", -1.0),
        ("weight_decay", -1.0),
        ("schedule", "step"),
        ("precision", "float16"),
    ],
)
def test_an_invalid_field_is_an_error_with_field_and_value(field, value):
    with pytest.raises(ValueError, match=rf"^{field} .*got '?{value}'?$"):
        Recipe("mlp", **{field: value})


def test_defaults():
    recipe = Recipe("mlp")
    assert (recipe.epochs, recipe.lr, recipe.batch_size) == (30, 0.1, 256)
    assert (recipe.momentum, recipe.weight_decay, recipe.schedule) == (0.9, 5e-4, "cosine")
    assert (recipe.augment, recipe.precision, recipe.threads) == (False, "float32", 1)


def test_augmentation_depends_on_the_ids(bundle, runtime):
    shifted = replace(bundle.train, ids=bundle.train.ids + 7)
    recipe = Recipe("mlp", epochs=1, batch_size=64, augment=True)
    results = [recipe.fit(data, runtime) for data in (bundle.train, bundle.train, shifted)]
    assert same_bits(results[0], results[1])
    assert not same_bits(results[0], results[2])
    assert np.array_equal(bundle.train.ids, np.arange(100, 260))
