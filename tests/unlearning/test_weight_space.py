import math

import pytest
import torch
from reference import unlearning as reference

from rum_ray.testing import same_bits
from rum_ray.unlearning import FineTune, WeightDistortion, WeightDistReg
from rum_ray.unlearning.weight_space import weight_distance

ONE_BATCH = {"lr": 0.2, "epochs": 2, "batch_size": 130}
STILL = {"lr": 1e-30, "weight_decay": 0.0, "epochs": 1}


@pytest.mark.parametrize("std", [0.02, 0.5])
def test_weight_distortion_is_its_formula(model, task, runtime, std):
    unlearner = WeightDistortion(**ONE_BATCH, std=std)
    result = unlearner(model, task, runtime)
    literal = reference.CASES["weight_distortion"].literal(unlearner, model, task)
    reference.check(result, literal, model)


def test_the_noise_is_normal_and_independent(model, task, runtime):
    result = WeightDistortion(**STILL, std=0.1)(model, task, runtime)
    pairs = zip(result.parameters(), model.parameters(), strict=True)
    drawn = torch.cat([(after - before).detach().flatten() for after, before in pairs])
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.05)
    assert abs(float(drawn.mean())) < 0.01
    assert len(drawn.unique()) > 0.99 * len(drawn)
    assert weight_distance(result, model).item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("alpha", [1.0, 30.0])
def test_weight_dist_reg_is_its_formula(model, task, runtime, alpha):
    unlearner = WeightDistReg(**ONE_BATCH, alpha=alpha)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.weight_dist_reg(unlearner, model, task), model)


def test_without_noise_or_distance_both_are_finetune(model, task, runtime):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 32}
    expected = FineTune(**settings)(model, task, runtime)
    for unlearner in (WeightDistortion(**settings, std=0.0), WeightDistReg(**settings, alpha=0.0)):
        assert same_bits(unlearner(model, task, runtime), expected)


def test_both_end_farther_from_the_original_than_finetune(model, task, runtime):
    def far(unlearner):
        return weight_distance(unlearner(model, task, runtime), model).item()

    settings = {"lr": 0.05, "epochs": 3}
    near = far(FineTune(**settings))
    assert far(WeightDistortion(**settings, std=0.2)) > 2 * near
    reg = [far(WeightDistReg(**settings, alpha=alpha)) for alpha in (0.0, 10.0, 100.0)]
    assert reg == sorted(reg)
    assert reg[0] == near
    assert reg[-1] > 1.1 * near


def test_the_distance_by_hand():
    one, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for model, values in ((one, (1.0, 2.0)), (other, (4.0, 6.0))):
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.data.fill_(value)
    assert weight_distance(one, other).item() == pytest.approx(math.sqrt((9 + 16) / 2))
    distance = weight_distance(one, one)
    assert distance.item() == pytest.approx(1e-4)
    distance.backward()
    assert all(parameter.grad == 0 for parameter in one.parameters())


def test_cost():
    assert WeightDistortion(epochs=3).cost(10, 100) == WeightDistReg(epochs=3).cost(10, 100) == 300


@pytest.mark.parametrize(("kind", "field"), [(WeightDistortion, "std"), (WeightDistReg, "alpha")])
def test_bad_fields(kind, field):
    with pytest.raises(ValueError, match=f"{field} must not be negative, got -0.1"):
        kind(**{field: -0.1})
