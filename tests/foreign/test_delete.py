"""Two requests of a user: photos as they come, a checkpoint of a script of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILE = """
name: photos
data: {name: images, train: photos/train, test: photos/test, size: 32}
recipe:
  {model: "torchvision:resnet18", weights: mine.pth, normalize: imagenet, epochs: 6, lr: 0.05,
   batch_size: 32}
score: {name: auto}
"""


def run(folder: Path, *command: object) -> str:
    """Run a Python command as the user does, in the folder; return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(folder: Path, name: str, *arguments: object) -> str:
    return run(folder, HERE / f"{name}.py", *arguments)


def delete(folder: Path, names: list[str], request: int) -> dict:
    """Forget files by their names, remove them, and return the evidence."""
    (folder / "request.txt").write_text("\n".join(names) + "\n")
    run(folder, "-m", "rum_ray", "delete", "photos.yaml", "--forget", "request.txt")
    for name in names:
        (folder / "photos" / "train" / name).unlink()
    published = folder / "out" / "photos" / "deletions" / f"{request:04d}"
    return json.loads((published / "evidence.json").read_text("utf-8"))


def test_photos_are_forgotten_by_name_twice_and_the_script_loads_the_result(tmp_path):
    root = os.environ.get("RUM_RAY_DATA")
    if root is None or not (Path(root) / "train.parquet").exists():
        pytest.skip("set RUM_RAY_DATA to the folder of CIFAR-10's train.parquet and test.parquet")
    sizes = ("--classes", 3, "--train", 40, "--test", 20, "--mixed")
    script(tmp_path, "pictures", root, "photos", *sizes)
    script(tmp_path, "plain_resnet", "train", "photos", "mine.pth", "--epochs", 4)
    (tmp_path / "photos.yaml").write_text(FILE)
    train = tmp_path / "photos" / "train"
    names = sorted(str(path.relative_to(train)) for path in train.glob("*/*"))

    said = json.loads(script(tmp_path, "plain_resnet", "evaluate", "photos", "mine.pth"))
    first = delete(tmp_path, names[::20], 1)
    assert first["accuracies"][0]["before"]["value"] == pytest.approx(said["test"], abs=1e-6)
    second = delete(tmp_path, names[5::20], 2)
    assert second["asked"]["forgotten"] == len(names[5::20])

    published = "out/photos/deletions/0002"
    said = json.loads(
        script(tmp_path, "plain_resnet", "evaluate", "photos", f"{published}/model.pt")
    )
    assert second["accuracies"][0]["after"]["value"] == pytest.approx(said["test"], abs=1e-6)
    assert "measured again" in run(tmp_path, "-m", "rum_ray", "verify", published)
