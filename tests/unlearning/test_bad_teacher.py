import pytest
import torch
from reference import unlearning as reference
from torch import nn

from rum_ray.errors import PlanError
from rum_ray.seeding import Seed
from rum_ray.testing import same_bits, sensitive_model
from rum_ray.unlearning import BadTeacher
from rum_ray.unlearning.bad_teacher import incompetent

ONE_BATCH = {"lr": 0.2, "batch_size": 130}


@pytest.mark.parametrize(
    "fields", [{"epochs": 1}, {"epochs": 2, "retain_share": 1.0}, {"temperature": 3.0}]
)
def test_it_is_its_formula(model, task, runtime, fields):
    unlearner = BadTeacher(**ONE_BATCH, **fields)
    rows = (runtime.seed / "retain").choice(90, int(unlearner.retain_share * 90))
    bad = incompetent(model, runtime.seed / "teacher")
    result = unlearner(model, task, runtime)
    reference.check(result, reference.bad_teacher(unlearner, model, task, bad, rows), model)


def test_a_retain_share_of_0_uses_the_forget_set_only(model, task, runtime):
    unlearner = BadTeacher(**ONE_BATCH, retain_share=0.0)
    bad = incompetent(model, runtime.seed / "teacher")
    result = unlearner(model, task, runtime)
    reference.check(result, reference.bad_teacher(unlearner, model, task, bad, []), model)


def test_it_ends_as_the_incompetent_teacher_on_the_forget_set(model, task, runtime):
    result = BadTeacher(lr=0.2, epochs=20, weight_decay=0.0)(model, task, runtime)
    bad = incompetent(model, runtime.seed / "teacher")
    x = task.forget.x
    apart = [float(reference.kl(m.double(), bad.double(), x, 1).detach()) for m in (result, model)]
    assert apart[0] < 0.5 * apart[1]


def test_the_incompetent_teacher_depends_on_its_seed_only():
    trained = sensitive_model(0)
    trained.features[1].running_mean += 1
    fresh = incompetent(trained, Seed(3))
    assert same_bits(fresh, incompetent(trained, Seed(3)))
    assert not same_bits(fresh, incompetent(trained, Seed(4)))
    assert not fresh.features[1].running_mean.any()
    for name, p in fresh.named_parameters():
        assert not torch.equal(p, trained.get_parameter(name)) or "features.1" in name
    assert not fresh.training


def test_a_layer_without_reset_parameters_is_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    incompetent(model, Seed(0))

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

    message = r"^bad_teacher: .* '1' \(Scale\) .*reset_parameters"
    with pytest.raises(PlanError, match=message):
        incompetent(nn.Sequential(nn.Linear(2, 2), Scale()), Seed(0))


def test_cost():
    # Of 300 retain examples 90 are drawn; each example goes through two teachers, forward only.
    assert BadTeacher(epochs=2).cost(30, 300) == pytest.approx(2 * 120 * 5 / 3)
    assert BadTeacher(epochs=1, retain_share=0.0).cost(30, 300) == pytest.approx(30 * 5 / 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be positive, got 0.0"),
        ("retain_share", 1.1, r"retain_share must be in \[0, 1\], got 1.1"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        BadTeacher(**{field: value})
