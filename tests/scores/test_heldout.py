import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from reference.unlearning import Sgd, check, cross_entropy
from scipy.stats import entropy

from rum_ray.errors import DivergedError, ScoreError
from rum_ray.scores.heldout import Heldout, symmetric_kl
from rum_ray.seeding import Seed
from rum_ray.testing import CrashingRuntime, same_bits
from rum_ray.training import LocalRuntime, Recipe

RECIPE = Recipe("mlp", epochs=3, lr=0.1, batch_size=16)


def test_the_divergence_is_the_literal_one():
    p, q = ((Seed(0) / name).uniform(12).reshape(3, 4) + 0.01 for name in "pq")
    p, q = (rows / rows.sum(axis=1, keepdims=True) for rows in (p, q))
    expected = [(entropy(a, b) + entropy(b, a)) / 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(symmetric_kl(p, q), expected, rtol=1e-12)
    assert symmetric_kl(p, p).tolist() == [0] * 3


def test_opposite_certain_predictions_are_far_but_finite():
    (far,) = symmetric_kl([[1.0, 0.0]], [[0.0, 1.0]])
    assert far == pytest.approx(np.log(1e10), rel=1e-9)


def test_it_is_the_literal_loop_at_a_constant_rate(bundle, model):
    recipe, seed, data = replace(RECIPE, lr=0.02), Seed(0), bundle.heldout
    sgd = Sgd(model, **vars(recipe))
    for epoch in range(3):
        order = torch.from_numpy((seed / epoch / "order").permutation(len(data)))
        for rows in order.split(recipe.batch_size):
            sgd.step(cross_entropy(sgd.model, data.x[rows], data.y[rows]))
    before = copy.deepcopy(model)
    result = Heldout(epochs=3).retrain(model, data, recipe, LocalRuntime(seed))
    check(result, sgd.model, before)
    assert same_bits(model, before)
    assert not result.training


@dataclass(frozen=True)
class Scripted(Recipe):
    """A recipe with predefined losses."""

    losses: tuple[float, ...] = ()

    def epoch(self, model, optimizer, batches, seed, observe=None, probe=None):
        model.head.bias.data += 1
        return self.losses[seed.path[-1]]


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ((5, 4, 3, 2, 1), 1, 5),
        ((5, 6, 1, 1, 1), 1, 2),
        ((5, 6, 4, 4, 4, 3, 9), 2, 5),  # equal is not new
        ((3, 4, 4, 4, 4, 1, 1), 4, 5),
        ((3, 4, 4, 4, 2, 2, 2, 2, 1), 4, 9),
    ],
)
def test_training_stops_early_without_a_new_minimum_of_the_loss(
    bundle, model, losses, patience, expected
):
    proxy, recipe = Heldout(epochs=len(losses), patience=patience), Scripted("mlp", losses=losses)
    start = model.head.bias.detach().clone()
    result = proxy.retrain(model, bundle.heldout, recipe, LocalRuntime(Seed(0)))
    assert torch.allclose(result.head.bias, start + expected)
    for crash in range(1, expected):
        runtime = CrashingRuntime(Seed(0), crash=crash)
        with pytest.raises(InterruptedError):
            proxy.retrain(model, bundle.heldout, recipe, runtime)
        again = proxy.retrain(model, bundle.heldout, recipe, replace(runtime, crash=None))
        assert same_bits(again, result)


def test_the_score_compares_the_model_before_and_after(bundle):
    runtime, proxy = LocalRuntime(Seed(0)), Heldout(epochs=2)
    original = RECIPE.fit(bundle.train, runtime)
    after = proxy.retrain(original, bundle.heldout, RECIPE, runtime / "heldout")
    with torch.no_grad():
        p, q = (model(bundle.train.x).double().softmax(dim=1) for model in (original, after))
    scores = proxy(bundle, RECIPE, runtime)
    expected = [(entropy(a, b) + entropy(b, a)) / 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(scores.values, expected, rtol=1e-5, atol=1e-8)
    assert scores.name == "heldout"


def test_it_reads_v_with_the_label_process_of_d_and_never_t(bundle):
    held = bundle.heldout
    assert torch.equal(held.x, bundle.valid.x)
    assert int((held.y != bundle.valid.y).sum()) == 4  # a tenth of 40
    scores = Heldout(epochs=1)(replace(bundle, test=None), RECIPE, LocalRuntime(Seed(0)))
    assert len(scores) == 160


def test_a_search_and_the_proxy_share_v_by_halves(bundle):
    halved = bundle.halved()
    parts = [set(part.ids.tolist()) for part in (halved.valid, halved.reserved)]
    assert [len(part) for part in parts] == [20, 20]
    assert parts[0] | parts[1] == set(bundle.valid.ids.tolist())
    assert halved.heldout.ids.tolist() == halved.reserved.ids.tolist()
    assert np.bincount(halved.valid.y).tolist() == [5] * 4
    assert bundle.halved().valid.ids.tolist() == halved.valid.ids.tolist()


def test_missing_held_out_data_are_an_error(bundle):
    none = replace(bundle, valid=bundle.valid.take([]))
    with pytest.raises(ScoreError, match=r"^heldout: .* validation data"):
        Heldout()(none, RECIPE, LocalRuntime(Seed(0)))


def test_a_divergence_is_an_error(bundle, runtime):
    original = RECIPE.fit(bundle.train, runtime)
    with pytest.raises(DivergedError, match=r"loss of (inf|nan) in epoch"):
        Heldout().retrain(original, bundle.heldout, replace(RECIPE, lr=1e30), runtime)


@pytest.mark.parametrize("field", ["epochs", "patience"])
def test_bad_fields(field):
    with pytest.raises(ValueError, match=f"{field} must be positive, got 0"):
        Heldout(**{field: 0})
