"""Whole experiments from Python."""

import pytest
import torch

import rum_ray as rr
from rum_ray import config
from rum_ray.errors import ConfigError

FILE = {"name": "small", "data": "digits", "recipe": {"model": "mlp", "epochs": 1}}
FILE |= {"score": {"name": "confidence"}, "forget": {"size": 30}}


@pytest.mark.parametrize("executor", [None, rr.LocalExecutor(2), rr.RayExecutor()])
def test_a_missing_gpu_is_an_error_at_once(tmp_path, monkeypatch, executor):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    experiment = config.parse({**FILE, "cluster": {"gpus_per_worker": 0.5}})
    with pytest.raises(ConfigError, match=r"cluster\.gpus_per_worker is 0\.5"):
        rr.run(experiment, store=tmp_path, executor=executor)
