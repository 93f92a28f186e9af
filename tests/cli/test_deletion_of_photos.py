"""Requests by file names: a checkpoint of another script, and photos that are gone afterwards."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rum_ray.data import load
from rum_ray.deletion.ledger import Ledger
from rum_ray.results.schema.evidence import Evidence
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

FILE = """
name: photos
data: {name: images, train: photos/train, test: photos/test, size: 8}
recipe: {model: small_cnn, weights: photos.pth, epochs: 12, lr: 0.05, batch_size: 32}
score: {name: auto}
plan:
  low: nothing
  medium: {name: finetune, lr: 0.02, epochs: 1}
  high: {name: salun, lr: 0.02, epochs: 1}
"""
CLASSES = ("cat", "dog", "owl")


def write_photos(folder: Path) -> None:
    """Grey, coloured and tall pictures of three classes, 30 a class to train on and 20 to test."""
    for part, count in (("train", 30), ("test", 20)):
        for place, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            pattern = (Seed(0) / name).uniform(12 * 12 * 3).reshape(12, 12, 3)
            for number in range(count):
                noise = (Seed(0) / name / part / number).uniform(12 * 12 * 3).reshape(12, 12, 3)
                pixels = (255 * (0.6 * pattern + 0.4 * noise)).astype(np.uint8)
                image = Image.fromarray(pixels)
                image = image.convert("L") if number % 7 == 3 else image
                image = image.resize((10 + number % 5, 14)) if number % 4 == place else image
                image.save(folder / part / name / f"{name}_{number:03d}.png")


@pytest.fixture
def files(tmp_path) -> list[str]:
    """The folder of a user: photos, a checkpoint with prefixes, and an experiment."""
    write_photos(tmp_path / "photos")
    (tmp_path / "photos.yaml").write_text(FILE)
    options = {"train": str(tmp_path / "photos/train"), "test": str(tmp_path / "photos/test")}
    data = load("images", **options, size=8)
    model = Recipe("small_cnn", epochs=12, lr=0.05, batch_size=32).fit(
        data.train, LocalRuntime(Seed(0))
    )
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 12, "model_state": state}, tmp_path / "photos.pth")
    return sorted(data.train.names.values)


def evidence(folder: Path) -> Evidence:
    return Evidence.from_json(json.loads((folder / "evidence.json").read_text()))


def test_two_requests_and_files_that_are_gone(call, tmp_path, files):
    one, two = files[:6], files[4:12]
    (tmp_path / "one.txt").write_text("\n".join(one) + "\n")
    (tmp_path / "two.txt").write_text("\n".join(two) + "\n")
    code, _, err = call("delete", "photos.yaml", "--forget", "one.txt")
    assert code == 0, err
    out = tmp_path / "out" / "photos"
    first = out / "deletions" / "0001"
    assert {"model.pt", "model.safetensors"} <= {p.name for p in first.iterdir()}
    rows = evidence(first).done.rows

    for name in one:
        (tmp_path / "photos" / "train" / name).unlink()
    code, _, err = call("delete", "photos.yaml", "--forget", "two.txt")
    assert code == 0, err
    assert "2 of 8 listed ids were forgotten before" in err
    second = out / "deletions" / "0002"
    found = evidence(second)
    assert (found.asked.forgotten, found.done.rows) == (6, rows - 6)
    assert (found.drift.forgotten, found.drift.present) == (12, 6)
    assert any("6 rows of earlier requests" in each for each in found.not_measured)
    assert found.accuracies[0].before == evidence(first).accuracies[0].after
    for folder in (first, second):
        code, text, err = call("verify", folder)
        assert code == 0, err
        assert "measured again: accuracy on test" in text

    # The script that made the checkpoint loads the published one.
    given = torch.load(tmp_path / "photos.pth", weights_only=True)
    again = torch.load(second / "model.pt", weights_only=True)
    assert again["epoch"] == 12
    assert list(again["model_state"]) == list(given["model_state"])
    # No name of a forgotten file is in a file that was written.
    for path in [*out.rglob("*"), *(tmp_path / "store").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not [name for name in {*one, *two} if Path(name).name.encode() in content], path


def test_a_file_that_is_gone_before_its_request(call, tmp_path, files):
    (tmp_path / "photos" / "train" / files[0]).unlink()
    (tmp_path / "one.txt").write_text(f"{files[0]}\n{files[1]}\n")
    code, _, err = call("delete", "photos.yaml", "--forget", "one.txt")
    assert code == 3
    assert "1 of 2 ids are neither in the training set nor forgotten before: entry 1 of" in err
    assert not [name for name in files[:2] if Path(name).name in err]
    assert not (tmp_path / "out").exists()


def test_without_a_test_set_a_share_is_held_out_and_stays(call, tmp_path, files):
    shutil.rmtree(tmp_path / "photos" / "test")
    (tmp_path / "one.txt").write_text("\n".join(files[:5]) + "\n")
    change = ("--set", "data={name: images, train: photos/train, size: 8}")
    code, _, err = call("delete", "photos.yaml", "--forget", "one.txt", *change)
    assert code == 0, err
    ledger = Ledger.read(tmp_path / "out" / "photos")
    assert len(ledger.held["test"]) > 10
    for name in files[:5]:
        (tmp_path / "photos" / "train" / name).unlink()
    (tmp_path / "two.txt").write_text("\n".join(files[5:9]) + "\n")
    code, _, err = call("delete", "photos.yaml", "--forget", "two.txt", *change)
    assert code == 0, err
    folders = [tmp_path / "out" / "photos" / "deletions" / name for name in ("0001", "0002")]
    tests = [evidence(folder).done.test for folder in folders]
    assert tests[0] - 5 <= tests[1] <= tests[0]
    assert call("verify", folders[1])[0] == 0


def test_purge_removes_cached_pixels(call, tmp_path, files):
    (tmp_path / "one.txt").write_text("\n".join(files[:4]) + "\n")
    code, _, err = call("delete", "photos.yaml", "--forget", "one.txt")
    assert code == 0, err
    cache = tmp_path / "store" / "cache"
    assert [*cache.iterdir()]
    for name in files[:4]:
        (tmp_path / "photos" / "train" / name).unlink()
    _, text, _ = call("purge", "photos.yaml")
    assert "cached pixels" in text
    assert call("purge", "photos.yaml", "--yes")[0] == 0
    assert not [*cache.iterdir()]
    # The listing itself leaves no pixels behind.
    code, text, _ = call("purge", "photos.yaml")
    assert code == 0
    assert "cached pixels" not in text
