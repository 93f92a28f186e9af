"""Requests by file names: a checkpoint of another script, and photos that are gone afterwards."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from photos import CLASSES, write_photos

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
HEAD = "module.head.weight"


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
    # The photos were decoded before the list was found to be wrong.
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


def test_a_refused_request_leaves_the_store_as_it_was(call, tmp_path, files):
    (tmp_path / "store" / "model").mkdir(parents=True)
    (tmp_path / "store" / "model" / "mine").write_text("kept")
    (tmp_path / "one.txt").write_text("cat/none.png\n")
    assert call("delete", "photos.yaml", "--forget", "one.txt")[0] == 3
    assert [path.name for path in (tmp_path / "store").rglob("*")] == ["model", "mine"]
    # A dry run writes nothing, no decoded photos either.
    (tmp_path / "one.txt").write_text(f"{files[0]}\n")
    code, _, err = call("delete", "photos.yaml", "--forget", "one.txt", "--dry-run")
    assert code == 0, err
    assert [path.name for path in (tmp_path / "store").rglob("*")] == ["model", "mine"]
    assert not (tmp_path / "out").exists()


def test_a_class_that_is_forgotten_and_gone_keeps_its_output(call, tmp_path, files):
    def listed(names):
        (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
        return call("delete", "photos.yaml", "--forget", "list.txt")

    train, out = tmp_path / "photos" / "train", tmp_path / "out" / "photos"
    code, _, err = listed([name for name in files if name.startswith("dog/")])
    assert code == 0, err
    assert Ledger.read(out).classes == CLASSES
    shutil.rmtree(train / "dog")
    cats = [name for name in files if name.startswith("cat/")]
    code, _, err = listed(cats[:4])
    assert code == 0, err
    folder = out / "deletions" / "0002"
    assert evidence(folder).asked.classes == {"cat": 4}
    assert torch.load(folder / "model.pt", weights_only=True)["model_state"][HEAD].shape[0] == 3
    code, _, err = call("verify", folder)
    assert code == 0, err

    # The model has no output for a new class.
    shutil.copytree(train / "owl", train / "bat")
    code, _, err = listed(cats[4:8])
    assert code == 3
    assert "1 class that the model of the first request lacks: 'bat'" in err
    assert len(Ledger.read(out).entries) == 2
    shutil.rmtree(train / "bat")
    assert listed(cats[4:8])[0] == 0


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
