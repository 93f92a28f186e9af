"""`gc`: what dead commands left is listed, and removed with --yes; nothing else is touched."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rum_ray.files import temporary_in
from rum_ray.store import Artifact, Key, Store

KEY, OTHER = Key("model", {"n": 1}), Key("model", {"n": 2})
DIE = """
import os, sys
from pathlib import Path
from rum_ray.files import temporary_in
for folder in sys.argv[1:]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    path, file = temporary_in(Path(folder), "x.safetensors")
    file.write(b"half")
    file.flush()
os._exit(9)
"""


def die_writing(*folders: Path) -> int:
    """Let a process die while it writes a file in each folder; return its number."""
    process = subprocess.Popen([sys.executable, "-c", DIE, *map(str, folders)])
    assert process.wait() == 9
    return process.pid


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """An empty temporary folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_leftovers_are_listed_and_then_removed(call, tmp_path, temporary):
    store = Store(tmp_path / "store")
    store.save(KEY, Artifact({"x": np.arange(3)}), {"seconds": 1})
    store.save_checkpoint(f"{OTHER.digest}-seed", b"of an unfinished job")
    kept, (path, file) = tree(tmp_path), temporary_in(tmp_path / "store" / "model", "alive")
    file.write(b"half")
    file.flush()
    kept.add(str(path.relative_to(tmp_path)))
    dead = die_writing(tmp_path / "store" / "model", tmp_path / "store", tmp_path / "out" / "a")
    store.save_checkpoint(f"{KEY.digest}-seed", b"of a finished job")
    (tmp_path / "store" / "quarantine" / "folder").mkdir(parents=True)
    (tmp_path / "store" / "quarantine" / "folder" / "x").write_text("moved away")
    own = temporary / f"rum-ray-{os.getuid()}"
    session = "session_2026-01-01_00-00-00_000000"
    for ray, starter in (("r0a1b2c", dead), ("r3d4e5f", os.getpid())):
        (own / ray / f"{session}_{starter}").mkdir(parents=True)
        (own / ray / "session_latest").symlink_to(f"{session}_{starter}")
    (own / str(dead) / f"{session}_{dead}").mkdir(parents=True)
    (temporary / f"rum-ray-{dead}-weights").mkdir()
    for name in (f"rum-ray-{os.getpid()}-weights", "rum-ray-mine", "session_1_2"):
        (temporary / name).mkdir()
    (temporary / f"rum-ray-{dead}-link").symlink_to(tmp_path / "store")
    before = tree(tmp_path)

    code, text, err = call("gc", "--out", "out/a", "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["removed"] is False
    kinds = sorted(item["kind"] for item in found["gc"])
    assert kinds == [
        *("checkpoint", "quarantine", "session", "session", "temporary", "temporary", "temporary")
    ]
    assert tree(tmp_path) == before

    code, text, err = call("gc", "--out", "out/a", "--yes")
    assert code == 0, err
    assert tree(tmp_path) == kept
    assert sorted(path.name for path in temporary.iterdir()) == sorted(
        [
            *(own.name, f"rum-ray-{os.getpid()}-weights", "rum-ray-mine", "session_1_2"),
            f"rum-ray-{dead}-link",
        ]
    )
    assert sorted(path.name for path in own.iterdir()) == sorted([str(dead), "r3d4e5f"])
    code, text, _ = call("gc", "--out", "out/a", "--yes")
    assert (code, text) == (0, "nothing is left over\n")
    file.close()


def test_a_lock_of_a_live_process_stays(call, tmp_path, temporary):
    store = tmp_path / "store"
    for name in ("held", "free"):
        (store / "model").mkdir(parents=True, exist_ok=True)
        (store / "model" / f"{name}.lock").write_text("x")
    with (store / "model" / "held.lock").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = call("gc", "--yes")
    assert code == 0, err
    assert tree(store) == {"model/held.lock"}


def test_a_store_at_a_uri_and_no_store_at_all_have_no_leftovers(call, temporary):
    for store in ("mock://bucket/a", "nowhere"):
        code, text, err = call("gc", "--store", store)
        assert (code, text) == (0, "nothing is left over\n"), err
