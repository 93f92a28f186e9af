"""Requests to forget on the digits, by the command line, in this process and without Ray."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from rum_ray.data import load
from rum_ray.deletion import files
from rum_ray.deletion import publish as publishing
from rum_ray.deletion.ledger import LEDGER, Ledger
from rum_ray.results.schema.evidence import Evidence
from rum_ray.results.schema.manifest import Manifest
from rum_ray.seeding import Seed
from rum_ray.study.output_folder import hold_folder
from rum_ray.training import LocalRuntime, Recipe

FILE = """
name: mine
data: digits
recipe: {model: mlp, weights: original.safetensors, epochs: 60, lr: 0.1, batch_size: 64}
score: {name: auto}
plan:
  low: nothing
  medium: {name: finetune, epochs: 1}
  high: {name: salun, epochs: 2}
deletion: {reference: none, gates: {test_accuracy_drop: 0.1, attack_auc: 0.9}}
"""
BASE = ("delete", "mine.yaml", "--forget")
FILES = {"model.safetensors", "manifest.json", "evidence.json", "evidence.html"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A folder with an original that knows the digits, and the file of the experiment."""
    folder = tmp_path_factory.mktemp("trained")
    train, runtime = load("digits").train, LocalRuntime(Seed(0))
    model = Recipe("mlp", epochs=60, batch_size=64).fit(train, runtime / "original")
    save_file(model.state_dict(), folder / "original.safetensors")
    (folder / "mine.yaml").write_text(FILE)
    return folder


@pytest.fixture(scope="session")
def ids() -> list[int]:
    return load("digits").train.ids.tolist()


@pytest.fixture(autouse=True)
def _files(trained, tmp_path, ids):
    for name in ("original.safetensors", "mine.yaml"):
        shutil.copy(trained / name, tmp_path)
    (tmp_path / "one.txt").write_text("".join(f"{each}\n" for each in ids[:30]))
    (tmp_path / "two.txt").write_text("".join(f"{each}\n" for each in ids[25:60]))


def evidence(folder: Path) -> Evidence:
    return Evidence.from_json(json.loads((folder / "evidence.json").read_text()))


def manifest(folder: Path) -> Manifest:
    return Manifest.from_json(json.loads((folder / "manifest.json").read_text()))


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_requests_one_after_the_other(call, tmp_path, ids):
    out = tmp_path / "out" / "mine"
    code, text, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert "before: this request 0." in err
    assert "the model of original.safetensors: accuracy" in err
    assert "published: out/mine/deletions/0001" in text
    first = out / "deletions" / "0001"
    assert {p.name for p in first.iterdir()} == FILES
    assert {p.stat().st_mode & 0o777 for p in [*first.iterdir(), out / LEDGER]} == {0o600}
    one = evidence(first)
    assert (one.asked.forgotten, one.done.rows, one.drift.forgotten) == (30, 1200, 30)
    assert [step.subset for step in one.done.plan] == ["low", "medium", "high"]
    assert {row.name for row in one.attacks} == {"by_class", "by_difficulty"}
    assert one.bill.total == pytest.approx(one.bill.plan + one.bill.measuring)
    assert one.bill.spent == one.bill.total
    assert one.start.original
    assert one.start.test == one.accuracies[0].before
    assert f"accuracy {one.start.train.value:.3f} on the training set" in err
    assert "The original model was measured first." in (first / "evidence.html").read_text("utf-8")

    code, text, err = call(*BASE, "two.txt")
    assert code == 0, err
    assert "warning: 5 of 35 listed ids were forgotten before" in err
    second = out / "deletions" / "0002"
    two = evidence(second)
    assert (two.asked.forgotten, two.asked.already, two.done.rows) == (30, 5, 1170)
    assert (two.drift.forgotten, two.drift.present, two.drift.requests) == (60, 60, 2)
    assert two.accuracies[0].before == one.accuracies[0].after
    assert two.drift.original == one.accuracies[0].before.value
    assert not two.start.original
    assert two.start.test == one.accuracies[0].after
    assert two.bill.spent == pytest.approx(one.bill.total + two.bill.total)
    ledger = Ledger.read(out)
    assert ledger is not None
    assert {ledger.hashed(str(each)) for each in ids[:60]} == ledger.forgotten
    assert manifest(second).before == manifest(first).model == ledger.entries[0].model
    changed = load_file(second / "model.safetensors"), load_file(first / "model.safetensors")
    assert any(not np.array_equal(a, changed[1][name]) for name, a in changed[0].items())

    for folder in (first, second):
        code, text, err = call("verify", folder)
        assert code == 0, err
        assert "failed" not in text
        assert text.count(" ok ") >= 8

    # All listed ids were forgotten: nothing is published, and it is no error.
    code, text, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert "nothing: all listed ids were forgotten before" in text
    assert len(Ledger.read(out).entries) == 2


@pytest.mark.parametrize("public", [(), ("--public",)], ids=["", "public"])
def test_no_id_is_in_a_file_that_is_written_or_in_a_message(
    call, tmp_path, ids, monkeypatch, public
):
    # Ids that no other number looks like.
    text = "from rum_ray.data import digits as whole\nimport dataclasses\n"
    text += "def digits() -> DataBundle:\n    data = whole()\n"
    text += "    train = dataclasses.replace(data.train, ids=data.train.ids + 900_719_000_000)\n"
    text += "    return dataclasses.replace(data, train=train)\n"
    text = "from rum_ray.data import DataBundle\n" + text
    (tmp_path / "secret_digits.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    secret = [each + 900_719_000_000 for each in ids[:30]]
    (tmp_path / "secret.txt").write_text("".join(f"{each}\n" for each in secret))
    arguments = (*BASE, "secret.txt", "--set", "data=secret_digits:digits", "--out", "here")
    code, said, err = call(*arguments, *public)
    assert code == 0, err
    secret_file = str(tmp_path / "secret.txt")
    for told in (said, err):
        assert not [each for each in (*secret, secret_file) if str(each) in told]
    # A list of ids that nobody knows.
    (tmp_path / "secret.txt").write_text("".join(f"{each + 10**9}\n" for each in secret))
    code, said, err = call(*arguments, *public)
    assert code == 3
    assert not [each for each in secret if str(each + 10**9) in said + err]
    written = listing(tmp_path / "here") | listing(tmp_path / "store")
    assert len(written) > 5
    for path, content in written.items():
        assert not [each for each in secret if str(each).encode() in content], path
        assert b"secret.txt" not in content, path
        assert not [each for each in secret if str(each) in path]


def test_public_leaves_out_hashes_and_small_numbers(call, tmp_path):
    assert call(*BASE, "one.txt", "--public")[0] == 0
    folder = tmp_path / "out" / "mine" / "deletions" / "0001"
    found, ledger = evidence(folder), Ledger.read(tmp_path / "out" / "mine")
    assert found.public
    assert all(row.size >= 10 for row in found.accuracies)
    assert all(count >= 10 for count in found.asked.classes.values())
    content = b"".join(listing(folder).values())
    assert not [each for each in ledger.forgotten if each.encode() in content]
    assert call("verify", folder)[0] == 0


def test_a_dry_run_writes_nothing(call, tmp_path):
    before = listing(tmp_path)
    code, out, err = call(*BASE, "one.txt", "--dry-run", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert 0 < told["bill"]["total"] < 1
    assert told["to_forget"] == 30
    # It needs no GPU, either.
    code, out, err = call(*BASE, "one.txt", "--dry-run", "--set", "cluster.gpus_per_worker=0.5")
    assert (code, "to forget: 30" in out) == (0, True), err
    assert listing(tmp_path) == before
    code, out, err = call(*BASE, "one.txt", "--json")
    assert code == 0, err
    assert json.loads(out)["deletion"]["bill"]["total"] == pytest.approx(told["bill"]["total"])


def test_the_same_request_has_the_same_model_and_evidence(call, tmp_path):
    for out in ("a", "b"):
        assert call(*BASE, "one.txt", "--out", out, "--store", f"store-{out}")[0] == 0
    names = ("model.safetensors", "evidence.json", "evidence.html")
    for name in names:
        files = [tmp_path / out / "deletions" / "0001" / name for out in ("a", "b")]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_the_list_may_come_from_standard_input(tmp_path):
    command = [Path(sys.executable).with_name("rum-ray"), *BASE, "-", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, input=b"3\n", capture_output=True, check=False, env=os.environ
    )
    text = done.stderr.decode()
    assert done.returncode in (0, 3), text
    assert done.returncode == 0 or "'3'" in text


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_rows(call, tmp_path, ids, rows):
    (tmp_path / "few.txt").write_text("".join(f"{each}\n" for each in ids[:rows]))
    code, _, err = call(*BASE, "few.txt")
    assert code == 0, err
    found = evidence(tmp_path / "out" / "mine" / "deletions" / "0001")
    assert sum(found.done.sizes.values()) == rows
    assert found.attacks[0].auc.high - found.attacks[0].auc.low > 0.2


def test_a_retrained_model_as_reference(call, tmp_path):
    code, _, err = call(*BASE, "one.txt", "--set", "deletion.reference=retrain")
    assert code == 0, err
    found = evidence(tmp_path / "out" / "mine" / "deletions" / "0001")
    assert 0.5 < found.reference["tow"] <= 1
    assert found.bill.reference == 1
    assert found.bill.break_even is None
    assert "Against a retrained model" in (
        tmp_path / "out" / "mine" / "deletions" / "0001" / "evidence.html"
    ).read_text("utf-8")


@pytest.mark.parametrize(
    ("gate", "plan", "message"),
    [
        ("attack_auc=0.55", "nothing", r"attack_auc: 0\.\d+ is above 0\.55 \(lower end"),
        (
            "test_accuracy_drop=0.01",
            "{name: neggrad, lr: 0.1, epochs: 2}",
            r"test_accuracy_drop: 0\.\d+ is above 0\.01 \(drop",
        ),
    ],
)
def test_a_gate_that_is_not_met(call, tmp_path, gate, plan, message):
    data = load("digits")
    wrong = data.train.ids[data.flipped]
    (tmp_path / "wrong.txt").write_text("".join(f"{each}\n" for each in wrong))
    changes = ("--set", f"deletion.gates.{gate}", "--set", f"plan={{all: {plan}}}")
    code, _, err = call(*BASE, "wrong.txt", *changes)
    assert code == 9, err
    assert re.search(message, err), err
    assert "Nothing is published" in err
    assert not (tmp_path / "out").exists()


def test_another_request_waits_or_is_told(call, tmp_path):
    with hold_folder(tmp_path / "out" / "mine"):
        code, _, err = call(*BASE, "one.txt")
    assert code == 4
    assert "is in use by process" in err
    assert call(*BASE, "one.txt")[0] == 0


def test_a_full_disk_publishes_nothing(call, tmp_path, monkeypatch):
    def full(path, content, mode=0o666):
        if path.name == "evidence.html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content, mode)

    write = publishing.write_once
    monkeypatch.setattr(publishing, "write_once", full)
    code, _, err = call(*BASE, "one.txt")
    assert code == 6
    assert "No space left on device. Nothing is published. Free space" in err
    assert not (tmp_path / "out" / "mine").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert "2 done, 2 reused" in err or "1 done, 1 reused" in err


def test_a_killed_request_goes_on(call, tmp_path):
    slow = ("--set", "plan={all: {name: finetune, epochs: 4000, lr: 0.001}}")
    quiet = ("--set", "deletion.gates={}")
    command = [Path(sys.executable).with_name("rum-ray"), *BASE, "one.txt", *slow, *quiet]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 200
        while not [*(tmp_path / "store").glob("deletion/*.safetensors")]:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.kill()
    assert not (tmp_path / "out" / "mine" / LEDGER).exists()
    assert not (tmp_path / "out" / "mine" / "deletions").exists()
    code, _, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert "1 done, 1 reused" in err


def test_a_commit_without_its_folder_is_finished(call, tmp_path):
    assert call(*BASE, "one.txt")[0] == 0
    root = tmp_path / "out" / "mine" / "deletions"
    (root / "0001").rename(root / ".0001")
    # The state after a death between the two renames.
    code, text, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert "nothing: all listed ids were forgotten before" in text
    assert call("verify", root / "0001")[0] == 0


def test_damage_is_found_by_verify(call, tmp_path):
    assert call(*BASE, "one.txt")[0] == 0
    out = tmp_path / "out" / "mine"
    folder = out / "deletions" / "0001"
    for name in FILES:
        whole = (folder / name).read_bytes()
        for content in (whole[:-40], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
            (folder / name).write_bytes(content)
            code, _, err = call("verify", folder)
            assert code == 7, (name, err)
            assert name in err or name == "manifest.json"
        (folder / name).unlink()
        code, _, err = call("verify", folder)
        assert code == (3 if name == "manifest.json" else 7), err
        (folder / name).write_bytes(whole)
    ledger = (out / LEDGER).read_bytes()
    (out / LEDGER).write_bytes(ledger.replace(b'"cost":0', b'"cost":1'))
    assert call("verify", folder)[0] == 7
    (out / LEDGER).unlink()
    assert call("verify", folder)[0] == 7
    (out / LEDGER).write_bytes(ledger)
    assert call("verify", folder)[0] == 0
    # A folder that was sent to somebody is checked by its manifest alone.
    shutil.copytree(folder, tmp_path / "sent")
    code, text, _ = call("verify", tmp_path / "sent")
    assert code == 0
    assert "note" in text


def test_numbers_that_do_not_follow_from_the_model_are_found(call, tmp_path, monkeypatch):
    original = files.format_json

    def lie(tree):
        if "accuracies" in tree:
            tree = json.loads(json.dumps(tree))
            tree["accuracies"][0]["after"]["value"] += 0.01
        return original(tree)

    monkeypatch.setattr(files, "format_json", lie)
    assert call(*BASE, "one.txt")[0] == 0
    code, _, err = call("verify", tmp_path / "out" / "mine" / "deletions" / "0001")
    assert code == 7
    assert "accuracy on test" in err


def test_a_ledger_of_another_original(call, tmp_path):
    assert call(*BASE, "one.txt")[0] == 0
    state = load_file(tmp_path / "original.safetensors")
    save_file({name: value + 0.01 for name, value in state.items()}, tmp_path / "other.safetensors")
    before = listing(tmp_path / "out")
    code, _, err = call(*BASE, "two.txt", "--set", "recipe.weights=other.safetensors")
    assert code == 4
    assert "has the ledger of another original" in err
    assert listing(tmp_path / "out") == before
    # The original may be gone: the ledger knows it, and requests start from the published model.
    (tmp_path / "original.safetensors").unlink()
    assert call(*BASE, "two.txt")[0] == 0


def test_a_published_model_that_was_changed_is_no_start(call, tmp_path):
    assert call(*BASE, "one.txt")[0] == 0
    path = tmp_path / "out" / "mine" / "deletions" / "0001" / "model.safetensors"
    state = load_file(path)
    save_file({name: value * 2 for name, value in state.items()}, path)
    code, _, err = call(*BASE, "two.txt")
    assert code == 7
    assert "is not the one of the ledger" in err
    path.unlink()
    assert call(*BASE, "two.txt")[0] == 7


def test_a_whole_class_is_allowed(call, tmp_path):
    train = load("digits").train
    rows = train.ids[train.y.numpy() == 3]
    (tmp_path / "class.txt").write_text("".join(f"{each}\n" for each in rows))
    code, _, err = call(*BASE, "class.txt", "--set", "deletion.gates={}")
    assert code == 0, err
    assert "warning: no row of class '3' remains" in err


def test_a_model_near_chance_is_warned_of(call, tmp_path):
    state = load_file(tmp_path / "original.safetensors")
    save_file({name: value * 0 for name, value in state.items()}, tmp_path / "zero.safetensors")
    settings = ("--set", "recipe.weights=zero.safetensors", "--set", "deletion.gates={}")
    code, _, err = call(*BASE, "one.txt", *settings)
    assert code == 0, err
    assert err.count("near chance") == 1
    found = evidence(tmp_path / "out" / "mine" / "deletions" / "0001")
    assert found.start.near_chance


def test_rows_of_the_validation_set_count_as_training_rows(call, tmp_path):
    valid = load("digits").valid.ids[:5]
    (tmp_path / "valid.txt").write_text("".join(f"{each}\n" for each in valid))
    code, _, err = call(*BASE, "valid.txt")
    assert code == 0, err
    folder = tmp_path / "out" / "mine" / "deletions" / "0001"
    assert evidence(folder).done.rows == 1205
    code, _, err = call(*BASE, "one.txt")
    assert code == 0, err
    assert evidence(folder.with_name("0002")).done.rows == 1200


def test_purge_removes_what_derives_from_forgotten_rows(call, tmp_path):
    assert call(*BASE, "one.txt")[0] == 0
    assert call(*BASE, "two.txt")[0] == 0
    out = tmp_path / "out" / "mine"
    code, text, err = call("purge", "mine.yaml")
    assert code == 0, err
    assert "original.safetensors" in text
    assert "0001/model.safetensors" in text
    artifacts = [*(tmp_path / "store").rglob("*.safetensors")]
    assert len(artifacts) == 6
    assert call("purge", "mine.yaml", "--yes")[0] == 0
    assert not [*(tmp_path / "store").rglob("*.safetensors")]
    assert not (out / "deletions" / "0001" / "model.safetensors").exists()
    assert (out / "deletions" / "0002" / "model.safetensors").exists()
    assert (tmp_path / "original.safetensors").exists()
    (tmp_path / "original.safetensors").unlink()
    code, text, _ = call("purge", "mine.yaml")
    assert "nothing that is known here" in text
    # The last model is whole, and the next request starts from it.
    assert call("verify", out / "deletions" / "0002")[0] == 0
    code, text, _ = call("verify", out / "deletions" / "0001")
    assert (code, "removed; a later request" in text) == (0, True)
    (tmp_path / "three.txt").write_text(f"{load('digits').train.ids[100]}\n")
    assert call(*BASE, "three.txt")[0] == 0


def test_purge_without_a_ledger(call):
    code, _, err = call("purge", "mine.yaml")
    assert code == 3
    assert "has no ledger" in err


def test_a_pool_is_prepared_once(call, tmp_path):
    own = ("--set", "recipe.weights=", "--set", "score.models=24", "--set", "recipe.epochs=4")
    own += ("--set", "score.fraction=0.5", "--out", "out/own")
    code, text, err = call("prepare", "mine.yaml", *own, "--address", "none")
    assert code == 0, err
    assert "prepared once" in text
    code, _, err = call(*BASE, "one.txt", *own)
    assert code == 0, err
    folder = tmp_path / "out" / "own" / "deletions" / "0001"
    found = evidence(folder)
    assert found.done.score == "memorization"
    names = [row.name for row in found.attacks]
    assert names == ["by_class", "by_difficulty", "pool_lira", "pool_rmia"]
    assert found.single.models == 24
    assert 0 <= found.single.false_positive_rate.value < 0.1
    assert found.bill.prepared > 6
    assert found.bill.break_even > 6
    assert call("verify", folder)[0] == 0
    # Rows that are gone are found by their hashes; the second request uses the pool, too.
    code, _, err = call(*BASE, "two.txt", *own)
    assert code == 0, err
    assert evidence(folder.with_name("0002")).single is not None
    assert call("purge", "mine.yaml", *own, "--yes")[0] == 0
    assert not [*(tmp_path / "store").rglob("pool*/*.safetensors")]
    (tmp_path / "three.txt").write_text(f"{load('digits').train.ids[100]}\n")
    code, _, err = call(*BASE, "three.txt", *own)
    assert code == 0, err
    assert evidence(folder.with_name("0003")).single is not None


def test_auto_is_for_requests(call, tmp_path):
    code, _, err = call("score", "mine.yaml", "--set", "forget={size: 30}")
    assert code == 2
    assert "score.name: auto" in err


def test_damaged_artifacts_of_a_request_are_computed_again(call, tmp_path):
    code, _, err = call(*BASE, "one.txt", "--out", "out/first")
    assert code == 0, err
    paths = sorted((tmp_path / "store").glob("*/*.safetensors"))
    for path in paths:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    code, _, err = call(*BASE, "one.txt", "--out", "out/second")
    assert code == 0, err
    assert "was damaged" in err
    models = [tmp_path / "out" / name / "deletions/0001/model.safetensors" for name in FOLDERS]
    assert models[0].read_bytes() == models[1].read_bytes()


FOLDERS = ("first", "second")
