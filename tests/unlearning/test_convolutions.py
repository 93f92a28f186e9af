import numpy as np
import pytest
import torch
from reference import closed_forms
from reference import unlearning as reference
from torch import nn

from rum_ray.errors import PlanError
from rum_ray.seeding import Seed
from rum_ray.testing import same_bits
from rum_ray.unlearning import CT, MSG, FineTune, UnlearningTask
from rum_ray.unlearning.convolutions import layer_weights, redrawn, square_kernels

STILL = {"lr": 1e-30, "weight_decay": 0.0, "epochs": 1}


def fresh(model, seed):
    return {n: redrawn(model.get_parameter(n), seed / n) for n in layer_weights(model)}


@pytest.mark.parametrize(
    "fields", [{"epochs": 1}, {"epochs": 3}, {"redraw": 0.7, "scale": 0.5}, {"scale": 0.0}]
)
def test_msg_on_linear_layers_is_its_formula(model, task, runtime, fields):
    unlearner = MSG(**{"lr": 0.2, "batch_size": 130, "epochs": 2, **fields})
    seed = runtime.seed / "mask"
    rows = (seed / "retain").choice(90, 40)
    result = unlearner(model, task, runtime)
    literal = reference.msg(unlearner, model, task, rows, fresh(model, seed))
    if unlearner.scale == 0:  # frozen weights keep every bit: weight decay does not move them
        for (name, after), before in zip(
            result.named_parameters(), model.parameters(), strict=True
        ):
            share = float((after == before).float().mean())
            assert share == pytest.approx(0.7 if "weight" in name else 0.0, abs=0.02)
    else:
        reference.check(result, literal, model)


def test_msg_reinitializes_a_fraction_of_each_convolution_only(runtime):
    model, task = closed_forms.problem()
    result = MSG(redraw=0.5, **STILL)(model, task, runtime)
    changed = {n: int((p != model.get_parameter(n)).sum()) for n, p in result.named_parameters()}
    assert changed == {"features.0.weight": 27} | dict.fromkeys(list(changed)[1:], 0)


def test_msg_without_a_redraw_and_scale_is_finetuning_at_a_rate_that_rises_and_falls(
    model, task, runtime
):
    fields = {"lr": 0.2, "batch_size": 32}
    same = MSG(redraw=0.0, scale=1.0, epochs=1, **fields)(model, task, runtime)
    assert same_bits(same, FineTune(epochs=1, **fields)(model, task, runtime))
    rates = [MSG(lr=1.0, epochs=5).learning_rate(epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2])


def test_fresh_weights_are_kaiming_normal_by_fan_out():
    weight = redrawn(torch.zeros(80, 50, 3, 3), Seed(0))
    assert float(weight.std()) == pytest.approx(np.sqrt(2 / (80 * 9)), rel=0.02)
    assert abs(float(weight.mean())) < 1e-3
    assert torch.equal(weight, redrawn(torch.ones(80, 50, 3, 3), Seed(0)))
    assert not torch.equal(weight, redrawn(torch.zeros(80, 50, 3, 3), Seed(1)))


def test_msg_reinitializes_linear_layers_without_convolutions():
    assert layer_weights(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Linear(2, 2))) == ["0.weight"]
    assert layer_weights(nn.Linear(2, 2)) == ["weight"]
    with pytest.raises(PlanError, match=r"^msg: .*convolutions .* linear layers"):
        layer_weights(nn.Sequential(nn.BatchNorm1d(3)))


def test_ct_swaps_the_axes_of_kernels_once(runtime):
    model, task = closed_forms.problem()
    result = CT(**STILL)(model, task, runtime)
    before, after = (m.features[0].weight for m in (model, result))
    assert all(torch.equal(a, b.T) for a, b in zip(after[:, 0], before[:, 0], strict=True))
    assert not torch.equal(after, before)
    assert torch.equal(result.head.weight, model.head.weight)


def test_ct_falls_to_0_as_a_cosine():
    rates = [CT(lr=1.0, epochs=3).learning_rate(epoch) for epoch in range(3)]
    assert rates == pytest.approx([1.0, 0.75, 0.25])


def test_ct_needs_a_square_kernel(model, task, runtime):
    with pytest.raises(PlanError, match=r"^ct: .*square convolution kernel"):
        CT()(model, task, runtime)
    odd = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, (1, 3)), nn.Conv1d(1, 1, 3))
    assert not list(square_kernels(odd))
    assert [k.shape for k in square_kernels(nn.Sequential(odd, nn.Conv2d(1, 2, 3)))] == [
        (2, 1, 3, 3)
    ]


def test_cost(task):
    assert CT(epochs=3).cost(30, 300) == 900
    assert MSG(epochs=3).cost(30, 300) == 960
    assert MSG(epochs=1).cost(300, 30) == 300 + 30 + 30


def test_fewer_retain_than_forget_examples_are_all_used(model, task, runtime):
    few = UnlearningTask(task.retain, task.forget, model)
    unlearner = MSG(lr=0.2, batch_size=130, epochs=1)
    literal = reference.msg(unlearner, model, few, range(40), fresh(model, runtime.seed / "mask"))
    reference.check(unlearner(model, few, runtime), literal, model)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("redraw", 1.1, r"redraw must be in \[0, 1\], got 1.1"),
        ("scale", -0.1, "scale must not be negative, got -0.1"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        MSG(**{field: value})
