import pytest
import torch
from reference import unlearning as reference
from torch import nn

from rum_ray.errors import DivergedError
from rum_ray.testing import counting, same_bits
from rum_ray.unlearning import Influence, UnlearningTask
from rum_ray.unlearning.gradients import differentiable
from rum_ray.unlearning.influence import released_inverse


@pytest.mark.parametrize("alpha", [1.0, 30.0])
def test_the_scalar_recursion_equals_the_vector_recursion(model, task, runtime, alpha):
    unlearner = Influence(alpha=alpha)
    expected = reference.influence(unlearner, model, task)
    assert reference.distance(unlearner(model, task, runtime), expected) < 1e-6
    assert reference.distance(model, expected) > 1e-3


def test_the_scalar_recursion_equals_the_vector_recursion_on_steep_losses(model, bundle, runtime):
    # With large gradients, the recursion changes v considerably.
    with torch.no_grad():
        model.head.weight *= 30
    data = bundle.train.take(range(60))
    literal, v = model.double(), torch.ones(1108)
    o, k = reference.gradient(literal, data.take([0])), v.double()
    for i in range(1, 60):
        g = reference.gradient(literal, data.take([i]))
        t = o @ g
        k, o = k - (k @ g) / (1000 + t) * o, o - t / (1000 + t) * o
    found = released_inverse(differentiable(model.float(), runtime), data, v).double()
    torch.testing.assert_close(found, k, rtol=0, atol=1e-6 * float((k - v).abs().max()))
    assert float((k - v).abs().max()) > 1


@pytest.mark.parametrize("mode", ["official", "fisher"])
def test_a_step_of_0_is_the_identity(model, task, runtime, mode):
    assert same_bits(Influence(alpha=0.0, mode=mode)(model, task, runtime), model)


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_fisher_is_the_inverse_of_an_explicit_matrix(model, task, runtime, damping):
    unlearner = Influence(mode="fisher", damping=damping, iterations=60)
    expected = reference.influence_fisher(unlearner, model, task)
    assert reference.distance(unlearner(model, task, runtime), expected) < 1e-5
    plain = Influence(mode="fisher", damping=damping, iterations=1)
    assert reference.distance(plain(model, task, runtime), expected) > 1e-4


def test_only_the_first_1002_retain_examples_are_used(model, bundle, runtime):
    retain = bundle.train.take([i % 100 for i in range(1010)])
    changed = retain.relabeled([*retain.y[:1002], *(retain.y[1002:] + 1) % 4])
    forget = bundle.train.take(range(100, 120))
    # The mean gradient depends on the other examples, so the comparison excludes it.
    direction = torch.ones(1108)
    models = [differentiable(model, runtime) for _ in range(2)]
    kept = [data.take(range(1002)) for data in (retain, changed)]
    inverses = [released_inverse(m, d, direction) for m, d in zip(models, kept, strict=True)]
    assert torch.equal(*inverses)
    assert Influence().cost(20, 1010) == pytest.approx(1030 + 2 / 3 * 1001)
    results = [
        Influence()(model, UnlearningTask(forget, d, model), runtime) for d in (retain, changed)
    ]
    assert not same_bits(*results)


def test_a_single_retain_example_is_enough(model, task, runtime):
    alone = UnlearningTask(task.forget, task.retain.take([0]), model)
    unlearner = Influence(alpha=0.5)
    expected = reference.influence(unlearner, model, alone)
    assert reference.distance(unlearner(model, alone, runtime), expected) < 1e-6


def test_cost_of_fisher(model, task, runtime):
    unlearner = Influence(mode="fisher", iterations=3)
    with counting() as passes:
        unlearner(model, task, runtime)
    measured = passes["backward"] * 2 / 3 + passes["forward"] / 3
    assert unlearner.cost(40, 90) == pytest.approx(measured) == pytest.approx(130 + 3 * 90 * 4 / 3)


def test_weights_that_are_not_finite_diverged(model, task, runtime):
    with pytest.raises(DivergedError, match=r"^influence .* not finite .* alpha"):
        Influence(alpha=1e45)(model, task, runtime)


def test_a_model_with_constant_logits_is_unchanged(runtime, task):
    # All logits are equal whatever the input, and so are all gradients: v is 0, and stays 0.
    constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False))
    nn.init.zeros_(constant[1].weight)
    one = UnlearningTask(task.forget.take([0]), task.forget.take([0]), constant)
    for mode in ("official", "fisher"):
        assert same_bits(Influence(mode=mode)(constant, one, runtime), constant)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("alpha", -1.0, "alpha must not be negative, got -1.0"),
        ("damping", 0.0, "damping must be positive, got 0.0"),
        ("iterations", 0, "iterations must be positive, got 0"),
        ("mode", "exact", "mode must be official or fisher, got 'exact'"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        Influence(**{field: value})
