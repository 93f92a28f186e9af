"""Damaged artifacts are computed again in the run that finds them; every report stays the same."""

import json
import shutil
from pathlib import Path

import pytest
from miniature import DEMO, SETTINGS, flags, of_science

from rum_ray import api
from rum_ray.errors import MissingError

COMMAND = ("run", DEMO, *flags(*SETTINGS), "--address", "none", "--set", "cluster.workers=1")
UNREAD = {"prefix", "trial"}
"""Kinds of artifacts of which a finished run reads some files only."""


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def files_of(store: Path) -> dict[str, list[Path]]:
    """Return the files of the artifacts by kind."""
    kinds = {path.parent.name for path in store.glob("*/*.safetensors")}
    return {kind: sorted((store / kind).glob("*.safetensors")) for kind in sorted(kinds)}


def test_damaged_artifacts_of_every_kind_are_made_again_in_one_run(call, copy, mini):
    damaged = []
    for kind, paths in files_of(copy.store).items():
        damaged += paths[:9] if kind == "pool" else paths[:1]
    for path in damaged:
        flip(path)
    code, _, err = call(*COMMAND)
    assert code == 0, err
    assert of_science(copy.report()) == of_science(mini.report())
    made = copy.artifacts()
    read = {f"{path.parent.name}/{path.name}" for path in damaged if path.parent.name not in UNREAD}
    assert {name: mini.artifacts()[name] for name in read} == {name: made[name] for name in read}
    told = [line for line in err.splitlines() if "was damaged" in line]
    assert told
    assert all(line.startswith("warning: ") and "quarantine" in line for line in told)
    assert "UserWarning" not in err


@pytest.mark.parametrize("content", [None, b"[]"])
def test_trials_without_provenance_are_no_error(call, copy, mini, content):
    for path in (copy.store / "trial").glob("*.json"):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    shutil.rmtree(copy.store / "search")
    code, _, err = call("tune", *COMMAND[1:])
    assert code == 0, err
    assert copy.artifacts("search", "trial") == mini.artifacts("search", "trial")


def test_a_damaged_stages_file_is_no_error(call, copy):
    copy.out.mkdir(parents=True)
    (copy.out / "stages.json").write_bytes(b"")
    code, _, err = call("train", *COMMAND[1:])
    assert code == 0, err
    assert isinstance(json.loads((copy.out / "stages.json").read_text()), list)


def test_a_report_alone_computes_nothing(call, copy):
    for path in (copy.store / "evaluation").glob("*.safetensors"):
        flip(path)
    code, _, err = call("report", DEMO, *flags(*SETTINGS))
    assert code == 6, err
    assert "was damaged" in err
    assert "A run computes it again." in err.splitlines()[-1]


def test_an_artifact_that_is_damaged_again_and_again_ends_the_run(call, copy, monkeypatch):
    tries = []

    def fail(*args: object) -> None:
        tries.append(1)
        raise MissingError("model 0123 was damaged.")

    monkeypatch.setattr(api, "make_report", fail)
    code, _, err = call(*COMMAND)
    assert (code, len(tries)) == (6, 3)
    assert err.splitlines()[-1] == "rum-ray: model 0123 was damaged."
