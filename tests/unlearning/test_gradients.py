import pytest
import torch
from reference import unlearning as reference

from rum_ray.testing import same_bits, sensitive_model
from rum_ray.unlearning.gradients import (
    batch_gradients,
    by_parameter,
    differentiable,
    directional_derivatives,
    fisher_product,
    mean_gradient,
)


@pytest.fixture
def many(bundle):
    """300 examples: one full batch and a part of another."""
    return bundle.train.take([*range(160), *range(140)])


def single(model, data):
    model = model.double()
    return torch.stack([reference.gradient(model, data.take([i])) for i in range(len(data))])


def test_the_mean_gradient_is_that_of_single_examples(model, runtime, many):
    got = mean_gradient(differentiable(model, runtime), many).double()
    torch.testing.assert_close(got, single(model, many).mean(0), rtol=0, atol=1e-7)


def test_directional_derivatives_are_products_with_single_gradients(model, runtime, many):
    direction = torch.randn(1108, generator=torch.Generator().manual_seed(0))
    got = directional_derivatives(differentiable(model, runtime), many, direction).double()
    expected = single(model, many) @ direction.double()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_the_fisher_product_is_that_with_the_matrix(model, runtime, many):
    vector = torch.randn(1108, generator=torch.Generator().manual_seed(0))
    got = fisher_product(differentiable(model, runtime), many, vector).double()
    g = single(model, many)
    expected = (g.T @ g / len(g)) @ vector.double()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_derivatives_of_no_examples_are_empty(model, runtime, many):
    found = directional_derivatives(model, many.take([]), torch.zeros(1108))
    assert found.shape == (0,)


def test_batch_gradients_use_the_current_weights(model, runtime, task):
    moving = differentiable(model, runtime)
    batches = [(task.forget.x, task.forget.y)] * 2
    gradients = batch_gradients(moving, batches)
    first = next(gradients)
    with torch.no_grad():
        moving.head.bias += 1.0
        moving.head.weight *= 0.5
    assert not torch.equal(next(gradients), first)


def test_an_unused_parameter_has_gradient_0(model, runtime, task):
    model.unused = torch.nn.Parameter(torch.ones(3))
    gradient = mean_gradient(differentiable(model, runtime), task.forget)
    parts = by_parameter(gradient, model)
    assert parts["unused"].tolist() == [0, 0, 0]
    assert list(parts) == [name for name, _ in model.named_parameters()]
    assert all(parts[name].shape == p.shape for name, p in model.named_parameters())
    assert float(parts["head.weight"].abs().max()) > 1e-3


def test_the_model_is_a_copy_in_eval_mode(runtime):
    model = sensitive_model(0).train().requires_grad_(False)
    copied = differentiable(model, runtime)
    assert same_bits(copied, model)
    assert model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in copied.modules())
    assert all(p.requires_grad for p in copied.parameters())
