import pytest
import torch
from reference import unlearning as reference

from rum_ray.errors import DivergedError
from rum_ray.testing import same_bits
from rum_ray.unlearning import SSD, UnlearningTask
from rum_ray.unlearning.base import concat_sets


def batches(data, seed, size):
    order = (seed / "order").permutation(len(data))
    return [data.take(order[i : i + size]) for i in range(0, len(data), size)]


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha": 1.5},
        {"alpha": 1.0, "dampening": 0.3},
        {"alpha": 1.2, "exponent": 0.5, "batch_size": 30},
        {"alpha": 1.05, "dampening": 0.9, "batch_size": 1},
    ],
)
def test_it_is_its_formula(model, task, runtime, fields):
    unlearner = SSD(**{"batch_size": 130, **fields})
    size, seed = unlearner.batch_size, runtime.seed
    forget = batches(task.forget, seed / "forget", size)
    whole = batches(concat_sets(task, task.forget.y), seed / "whole", size)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.ssd(unlearner, model, forget, whole), model)


def test_selected_weights_shrink_and_the_others_are_unchanged(model, task, runtime):
    result = SSD(alpha=1.0, dampening=0.5)(model, task, runtime)
    for after, before in zip(result.parameters(), model.parameters(), strict=True):
        assert bool((after.abs() <= before.abs()).all())
        assert bool((after * before >= 0).all())
    assert not same_bits(result, model)
    assert same_bits(SSD(alpha=1e30)(model, task, runtime), model)


def test_a_dampening_of_0_zeroes_the_selected_weights(model, task, runtime):
    result = SSD(alpha=1.0, dampening=0.0)(model, task, runtime)
    shares = [float((p == 0).float().mean()) for p in result.parameters()]
    assert max(shares) > 0.1
    kept = [
        torch.equal(after[after != 0], before[after != 0])
        for after, before in zip(result.parameters(), model.parameters(), strict=True)
    ]
    assert all(kept)


def test_an_unused_weight_is_unchanged(model, task, runtime):
    # 0 / 0: neither set has a gradient there.
    model.unused = torch.nn.Parameter(torch.ones(3))
    same = UnlearningTask(task.forget, task.retain, model)
    assert SSD(alpha=0.0)(model, same, runtime).unused.tolist() == [1, 1, 1]


def test_an_input_model_that_is_not_finite_is_an_error(model, task, runtime):
    with torch.no_grad():
        model.head.bias[0] = float("nan")
    with pytest.raises(DivergedError, match=r"^ssd .* not finite .* input model"):
        SSD()(model, task, runtime)


def test_cost():
    assert SSD().cost(30, 300) == 360


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("alpha", -1.0, "alpha must not be negative, got -1.0"),
        ("dampening", -1.0, "dampening must not be negative, got -1.0"),
        ("exponent", -1.0, "exponent must not be negative, got -1.0"),
        ("batch_size", 0, "batch_size must be positive, got 0"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        SSD(**{field: value})
