import numpy as np
import pytest
import torch
from reference import unlearning as reference

from rum_ray.testing import same_bits
from rum_ray.unlearning import FineTune, NegGrad, NegGradPlus

ONE_BATCH = {"lr": 0.05, "epochs": 2, "batch_size": 130}


def test_neggrad_is_its_formula(model, task, runtime):
    unlearner = NegGrad(**ONE_BATCH)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.neggrad(unlearner, model, task), model)


@pytest.mark.parametrize("alpha", [0.6, 0.95])
def test_neggrad_plus_is_its_formula(model, task, runtime, alpha):
    unlearner = NegGradPlus(**ONE_BATCH, alpha=alpha)
    result = unlearner(model, task, runtime)
    reference.check(result, reference.neggrad_plus(unlearner, model, task), model)


def test_neggrad_plus_with_alpha_1_is_finetune(model, task, runtime):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 16}
    expected = FineTune(**settings)(model, task, runtime)
    assert same_bits(NegGradPlus(**settings, alpha=1.0)(model, task, runtime), expected)


def test_neggrad_plus_repeats_the_forget_batches_of_an_epoch(model, task, runtime):
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    NegGradPlus(epochs=2, batch_size=16)(model, task, runtime)
    # 90 retain examples are 6 batches, 40 forget examples 3; the two alternate, retain first.
    first, second = seen[:12], seen[12:]
    for epoch in (first, second):
        retain, forget = epoch[::2], epoch[1::2]
        assert [len(x) for x in retain] == [16] * 5 + [10]
        assert [len(x) for x in forget] == [16, 16, 8] * 2
        assert all(map(torch.equal, forget[:3], forget[3:]))
        for batches, data in ((retain, task.retain), (forget[:3], task.forget)):
            rows = torch.cat(batches).flatten(1).numpy()
            assert np.array_equal(np.unique(rows, axis=0), np.unique(data.x.flatten(1), axis=0))
    assert len(second) == 12
    assert not torch.equal(first[1], second[1])


def test_cost():
    assert NegGrad(epochs=3).cost(10, 100) == 30
    # 6 retain batches beside 3 forget batches; 3 beside 6, so that only the first 3 of them count.
    assert NegGradPlus(epochs=2, batch_size=16).cost(40, 90) == 2 * (90 + 2 * 40)
    assert NegGradPlus(epochs=2, batch_size=16).cost(90, 40) == 2 * (40 + 3 * 16)


def test_alpha_must_be_in_0_to_1():
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"alpha must be in \[0, 1\], got {alpha}"):
            NegGradPlus(alpha=alpha)
