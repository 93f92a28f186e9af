"""Checkpoints of scripts that know nothing of this package: same model, same numbers, and back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rum_ray.data import load
from rum_ray.data.batches import to_float
from rum_ray.jobs.pretrained import load_into
from rum_ray.models.checkpoint import read
from rum_ray.training import Recipe
from rum_ray.training.normalization import Normalization

HERE = Path(__file__).parent
SCRIPTS = {
    "plain_resnet": Recipe("torchvision:resnet18", normalize="imagenet"),
    "plain_adamw": Recipe(
        "patch_net:net",
        normalize=Normalization((0.5,), (0.5,)),
        optimizer="adamw",
        lr=0.002,
        warmup=0.1,
        label_smoothing=0.1,
    ),
}


def script(name: str, *arguments: object) -> str:
    """Run a script as its user does, without this package on the path."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    root = os.environ.get("RUM_RAY_DATA")
    if root is None or not (Path(root) / "train.parquet").exists():
        pytest.skip("set RUM_RAY_DATA to the folder of CIFAR-10's train.parquet and test.parquet")
    folder = tmp_path_factory.mktemp("pictures")
    script("pictures", root, folder, "--classes", 3, "--train", 30, "--test", 20)
    return folder


@pytest.fixture(params=SCRIPTS)
def name(request, monkeypatch) -> str:
    monkeypatch.syspath_prepend(str(HERE))
    return request.param


def test_a_users_checkpoint_is_the_same_model_here_and_loads_there_again(name, pictures, tmp_path):
    checkpoint, theirs = tmp_path / "mine.pth", tmp_path / "theirs.npz"
    script(name, "train", pictures, checkpoint, "--epochs", 8)
    said = json.loads(script(name, "evaluate", pictures, checkpoint, "--logits", theirs))
    bundle = load("images", train=f"{pictures}/train", test=f"{pictures}/test", valid_fraction=0.0)
    recipe = SCRIPTS[name]
    from rum_ray.seeding import Seed

    given = read(checkpoint)
    model = load_into(recipe.build(bundle.train, Seed(0)), given, recipe)
    for split, data in (("train", bundle.train), ("test", bundle.test)):
        with torch.inference_mode():
            logits = model(to_float(data.x))
        expected = torch.from_numpy(np.load(theirs)[split])
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        accuracy = float((logits.argmax(1) == data.y).float().mean())
        assert accuracy == pytest.approx(said[split], abs=1.5 / len(data))
    assert said["train"] > 0.5  # the user's model has learned
    changed = {k: v * 0.9 if v.is_floating_point() else v for k, v in model.state_dict().items()}
    given.write(tmp_path / "out", changed)
    script(name, "evaluate", pictures, tmp_path / "out" / "model.pt", "--logits", theirs)
    model.load_state_dict(changed)
    with torch.inference_mode():
        logits = model(to_float(bundle.test.x))
    torch.testing.assert_close(
        logits, torch.from_numpy(np.load(theirs)["test"]), rtol=1e-3, atol=1e-4
    )
    assert isinstance(model, nn.Module)


def test_the_scripts_import_nothing_of_this_package():
    for path in HERE.glob("*.py"):
        if not path.name.startswith("test_"):
            assert "import rum_ray" not in path.read_text("utf-8")
            assert "from rum_ray" not in path.read_text("utf-8")
