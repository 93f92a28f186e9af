import pickle

import pytest
import torch
from torch import nn

from rum_ray.errors import DivergedError
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime
from rum_ray.training.runtime import check_finite


def test_a_part_has_its_own_seed_and_the_same_device():
    runtime = LocalRuntime(Seed(3), device="cpu")
    part = runtime / "a" / 1
    assert part.seed == Seed(3) / "a" / 1
    assert part.device == runtime.device == torch.device("cpu")
    assert runtime.seed == Seed(3)
    assert pickle.loads(pickle.dumps(part)) == part


def test_a_local_runtime_yields_all_epochs_in_order():
    assert list(LocalRuntime(Seed(0)).epochs(3)) == [0, 1, 2]


def test_a_local_runtime_sets_threads_and_determinism():
    try:
        LocalRuntime(Seed(0), threads=2)
        assert torch.get_num_threads() == 2
    finally:
        LocalRuntime(Seed(0))
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(value):
    model = nn.Linear(2, 2)
    check_finite(model, "it")
    with torch.no_grad():
        model.bias[1] = value
    with pytest.raises(DivergedError, match=r"^it .*\(bias\)"):
        check_finite(model, "it")
