import pytest
import torch
from reference import unlearning as reference

from rum_ray.testing import same_bits
from rum_ray.training.losses import distillation_kl
from rum_ray.unlearning import FineTune, Scrub

ONE_BATCH = {"lr": 0.1, "batch_size": 130}


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 1},
        {"epochs": 3, "max_epochs": 2},
        {"epochs": 2, "max_epochs": 0},
        {"epochs": 2, "alpha": 0.1, "gamma": 0.7, "temperature": 2.0},
    ],
)
def test_scrub_is_its_formula(model, task, runtime, fields):
    unlearner = Scrub(**ONE_BATCH, **fields)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.scrub(unlearner, model, task), model)


def test_without_teacher_and_max_steps_it_is_finetune(model, task, runtime):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 32}
    expected = FineTune(**settings)(model, task, runtime)
    assert same_bits(Scrub(**settings, alpha=0.0, max_epochs=0)(model, task, runtime), expected)


def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient(model, task):
    loss = distillation_kl(model(task.forget.x), model(task.forget.x).detach(), 4.0)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-7)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-7


def test_the_first_ascent_step_from_the_teacher_changes_nothing(model, task, runtime):
    # KL and its gradient are 0 where student and teacher are equal: only what follows on R moves.
    settings = {**ONE_BATCH, "epochs": 1, "weight_decay": 0.0, "momentum": 0.0}
    with_max = Scrub(**settings, max_epochs=1)(model, task, runtime)
    without = Scrub(**settings, max_epochs=0)(model, task, runtime)
    for one, other in zip(with_max.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_cost():
    # Each pass of the student comes with one of the teacher, forward only: a third.
    assert Scrub(epochs=5, max_epochs=3).cost(30, 300) == pytest.approx((90 + 1500) * 4 / 3)
    assert Scrub(epochs=2, max_epochs=3).cost(30, 300) == pytest.approx((60 + 600) * 4 / 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0.0, "temperature must be positive, got 0.0"),
        ("alpha", -1.0, "alpha must not be negative, got -1.0"),
        ("gamma", -0.5, "gamma must not be negative, got -0.5"),
        ("max_epochs", -1, "max_epochs must not be negative, got -1"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        Scrub(**{field: value})
