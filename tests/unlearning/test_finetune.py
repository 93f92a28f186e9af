import numpy as np
import pytest
from reference import unlearning as reference

from rum_ray.testing import same_bits
from rum_ray.unlearning import FineTune, L1Sparse

ONE_BATCH = {"lr": 0.2, "epochs": 2, "batch_size": 130}


def test_finetune_is_its_formula(model, task, runtime):
    unlearner = FineTune(**ONE_BATCH)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.finetune(unlearner, model, task), model)


def test_without_momentum_and_weight_decay(model, task, runtime):
    unlearner = FineTune(**ONE_BATCH, momentum=0.0, weight_decay=0.0)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.finetune(unlearner, model, task), model)


@pytest.mark.parametrize("epochs", [1, 3])
def test_l1_sparse_is_its_formula_with_a_falling_weight(model, task, runtime, epochs):
    unlearner = L1Sparse(**ONE_BATCH | {"epochs": epochs}, alpha=0.01)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.finetune(unlearner, model, task, 0.01), model)


def test_l1_sparse_without_a_penalty_is_finetune(model, task, runtime):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 32}
    expected = FineTune(**settings)(model, task, runtime)
    assert same_bits(L1Sparse(**settings, alpha=0.0)(model, task, runtime), expected)


def test_l1_sparse_makes_weights_small(model, task, runtime):
    def size(alpha):
        result = L1Sparse(lr=0.05, epochs=5, alpha=alpha)(model, task, runtime)
        return sum(float(p.detach().abs().sum()) for p in result.parameters())

    assert size(1e-2) < size(1e-3) < size(0.0)


def test_finetuning_ignores_the_forget_set(model, task, runtime):
    other = type(task)(task.forget.relabeled(np.zeros(40)), task.retain, task.original)
    results = [FineTune(lr=0.1)(model, t, runtime) for t in (task, other)]
    assert same_bits(*results)


def test_cost():
    assert FineTune(epochs=3).cost(10, 100) == L1Sparse(epochs=3).cost(10, 100) == 300
