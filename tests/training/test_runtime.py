import os
import pickle

import pytest
import torch
from torch import nn

from rum_ray import config
from rum_ray.api import check_machine
from rum_ray.errors import ConfigError, DivergedError
from rum_ray.seeding import Seed
from rum_ray.study.executor import LocalExecutor
from rum_ray.training import LocalRuntime
from rum_ray.training.runtime import check_finite, check_threads


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


def test_more_threads_than_four_per_core_are_refused(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = torch.get_num_threads()
    check_threads(8)
    for threads in (9, 100_000):
        with pytest.raises(ConfigError, match=rf"recipe\.threads is {threads}, .*: 8\.$"):
            LocalRuntime(Seed(0), threads=threads)
    assert torch.get_num_threads() == before
    assert LocalExecutor(100_000).workers == 8
    recipe = {"model": "mlp", "epochs": 1, "threads": 9}
    file = {"name": "x", "data": "digits", "recipe": recipe, "forget": {"size": 30}}
    experiment = config.parse(file)
    for address in ("local", "none"):
        with pytest.raises(ConfigError, match=r"recipe\.threads"):
            check_machine(experiment, address)
    check_machine(experiment, "head:6379")
