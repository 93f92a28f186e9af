"""Predictions: probabilities of finite logits, or an error."""

import numpy as np
import pytest
import torch
from torch import nn

from rum_ray.data import LabeledData
from rum_ray.errors import DivergedError
from rum_ray.training.prediction import predict


class Constant(nn.Module):
    """Returns the inputs times a weight as logits."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        return x * self.weight


def data(count=300):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3))).float()
    return LabeledData(x=x, y=[0] * count, num_classes=3)


def test_probabilities_are_the_softmax():
    of = data()
    found = predict(Constant(2.0), of)
    exponents = np.exp(2.0 * of.x.double().numpy())
    np.testing.assert_allclose(found, exponents / exponents.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 3e38])
def test_logits_that_are_not_finite_are_a_divergence(weight):
    with pytest.raises(DivergedError) as caught:
        predict(Constant(weight), data())
    assert caught.value.exit_code == 5
