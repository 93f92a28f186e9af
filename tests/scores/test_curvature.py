import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import scores as reference
from torch import nn

from rum_ray.models import Classifier
from rum_ray.scores.curvature import Curvature, Curvatures, curvature
from rum_ray.seeding import Seed
from rum_ray.testing import same_bits
from rum_ray.training import LocalRuntime, Recipe

RECIPE = Recipe("mlp", epochs=2, lr=0.1, batch_size=48)


def linear(weights: np.ndarray, bias: np.ndarray) -> nn.Module:
    head = nn.Linear(*weights.shape[::-1])
    head.weight.data, head.bias.data = torch.tensor(weights), torch.tensor(bias)
    return Classifier(nn.Flatten(), head).double().eval()


def test_a_linear_model_has_the_closed_form():
    # The gradient of the loss by x is W^T (p - e_y), so each example is a few lines of NumPy.
    draw = (Seed(0) / "linear").uniform
    weights, bias = draw(3 * 4).reshape(3, 4) - 0.5, draw(3)
    x, y = 4 * draw(5 * 4).reshape(5, 1, 2, 2), [0, 1, 2, 0, 1]
    ours = curvature(linear(weights, bias), torch.tensor(x), torch.tensor(y), h=0.1)
    expected = [
        reference.curvature(lambda z, c=c: reference.softmax_gradient(weights, bias, z, c), p, 0.1)
        for p, c in zip(x.reshape(5, 4), y, strict=True)
    ]
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    assert min(expected) > 1e-4


def test_a_flat_loss_has_no_curvature():
    flat = linear(np.zeros((3, 4)), np.zeros(3))
    assert curvature(flat, torch.ones(2, 4).double(), torch.tensor([0, 1]), 0.01).tolist() == [0, 0]


def test_it_is_the_mean_over_measurements_before_each_step(bundle):
    moments = []

    def keep(model, rows, x, y):
        moments.append((copy.deepcopy(model), rows, x.clone(), y))

    RECIPE.fit(bundle.train, LocalRuntime(Seed(0)), probe=keep)
    assert len(moments) == 2 * 4
    assert not any(module.training for model, *_ in moments for module in model.modules())
    expected = np.zeros(160)
    for model, rows, x, y in moments:
        for row, image, label in zip(rows.tolist(), x, y, strict=True):

            def gradient(z, model=model, shape=image.shape, label=label):
                z = torch.tensor(z, requires_grad=True)
                loss = -model(z.reshape(1, *shape)).log_softmax(dim=1)[0, label]
                return torch.autograd.grad(loss, z)[0].numpy()

            model.double()
            expected[row] += reference.curvature(gradient, image.double().numpy().ravel(), 0.01) / 2
    values = Curvature()(bundle, RECIPE, LocalRuntime(Seed(0))).values
    np.testing.assert_allclose(values, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_measuring_changes_no_bit_of_the_trained_model(bundle, name):
    recipe = replace(RECIPE, model=name, epochs=1)
    data = bundle.train.take(range(60))
    probe = Curvatures(60, h=0.01)
    measured = recipe.fit(data, LocalRuntime(Seed(0)), probe=probe)
    assert same_bits(measured, recipe.fit(data, LocalRuntime(Seed(0))))
    assert np.isfinite(probe.means()).all()


def test_the_step_must_be_positive():
    with pytest.raises(ValueError, match="h must be positive, got 0"):
        Curvature(h=0)
