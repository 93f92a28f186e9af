import numpy as np
import pytest
import torch
from reference import unlearning as reference

from rum_ray.data import LabeledData
from rum_ray.seeding import Seed
from rum_ray.testing import sensitive_model
from rum_ray.training import Recipe
from rum_ray.unlearning import LoTUS
from rum_ray.unlearning.lotus import _accuracy, gumbel

ONE_BATCH = {"lr": 0.2, "batch_size": 130}


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 1},
        {"epochs": 2, "retain_share": 1.0},
        {"alpha": 4.0, "unseen_accuracy": 0.1},
        {"alpha": 0.0, "retain_share": 0.0},
    ],
)
def test_it_is_its_formula(model, task, runtime, fields):
    unlearner = LoTUS(**ONE_BATCH, **{"epochs": 2, **fields})
    result = unlearner(model, task, runtime)
    reference.check(result, reference.CASES["lotus"].literal(unlearner, model, task), model)


def test_gumbel_noise_makes_the_largest_logit_a_draw_from_the_softmax():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    noise = gumbel(torch.zeros(40_000, 4), Seed(0))
    shares = torch.bincount((logits + noise).argmax(1), minlength=4) / 40_000
    assert shares.tolist() == pytest.approx(logits.softmax(0).tolist(), abs=0.01)
    assert float(noise.mean()) == pytest.approx(np.euler_gamma, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, rel=0.03)
    assert noise.isfinite().all()


def test_a_higher_alpha_makes_answers_on_the_forget_set_less_certain(bundle, task, runtime):
    recipe = Recipe("mlp", epochs=30, lr=0.05, batch_size=32)
    trained = recipe.fit(bundle.train, runtime / "original")

    def entropy(alpha):
        unlearner = LoTUS(lr=0.02, epochs=10, alpha=alpha, unseen_accuracy=0.0, retain_share=1.0)
        p = unlearner(trained, task, runtime)(task.forget.x).detach().softmax(1)
        return float(-(p * p.log()).sum(1).mean())

    assert 2 * entropy(0.0) < entropy(2.0) < entropy(6.0)


def test_the_accuracy_is_that_of_eval_mode_and_leaves_train_mode():
    model = sensitive_model(0).train()
    twin = sensitive_model(0).eval()
    x = torch.from_numpy(Seed(0).uniform(300 * 64).reshape(300, 1, 8, 8)).float()
    data = LabeledData(x, twin(x).argmax(1).numpy(), num_classes=10)
    assert _accuracy(model, data, torch.device("cpu")) == 1
    assert all(module.training for module in model.modules())
    forward = Recipe("mlp", precision="bfloat16").forward(model)
    assert _accuracy(forward, data, torch.device("cpu")) > 0.9
    assert all(module.training for module in model.modules())


def test_cost():
    # Of 300 retain examples 90 are drawn; the accuracy is one forward pass over S.
    assert LoTUS(epochs=2).cost(30, 300) == pytest.approx(2 * (120 * 4 / 3 + 10))
    assert LoTUS(epochs=1, retain_share=0.0).cost(30, 300) == pytest.approx(50)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("unseen_accuracy", 1.1, r"unseen_accuracy must be in \[0, 1\], got 1.1"),
        ("retain_share", -0.1, r"retain_share must be in \[0, 1\], got -0.1"),
    ],
)
def test_bad_fields(field, value, message):
    with pytest.raises(ValueError, match=message):
        LoTUS(**{field: value})
