"""Claims of SECURITY.md: each names a test, and those that belong to no module."""

import ast
import os
import pickle
import re
import stat
from pathlib import Path

import pytest

import rum_ray as rr
from rum_ray import config
from rum_ray.errors import RumRayError
from rum_ray.files import private_files, write_bytes
from rum_ray.store import Artifact, Key, Store

ROOT = Path(__file__).resolve().parents[1]
TABLE = (ROOT / "SECURITY.md").read_text("utf-8").partition("## What hostile input cannot do")[2]
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ") and "`tests/" in line]


class Payload:
    """An object that touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_every_claim_names_tests_that_exist():
    assert len(ROWS) >= 15
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            found = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            assert name in found, f"{file}::{name}"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_pickle_in_the_place_of_an_artifact_is_not_run(tmp_path):
    store, key = Store(tmp_path / "store"), Key("model", {"seed": 1})
    store.save(key, Artifact(value=1), {})
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    path = Path(store.path(key))
    for content in (payload, len(payload).to_bytes(8, "little") + payload):
        path.write_bytes(content)
        try:
            found = store.find(key)
        except RumRayError:
            found = None
        assert found is None
    assert not (tmp_path / "ran").exists()
    pickle.loads(payload)
    assert (tmp_path / "ran").exists()


def test_new_files_are_their_users_alone(tmp_path):
    file = {"name": "x", "data": "digits", "forget": {"size": 30}, "seeds": [0]}
    file |= {"recipe": {"model": "mlp", "epochs": 1, "batch_size": 256}}
    file |= {"score": {"name": "confidence"}, "plan": {"low": "nothing"}, "refine": "shuffle"}
    file["plan"] = {f"shuffle{n}": "finetune" for n in (1, 2, 3)}
    rr.run(config.parse(file), out=tmp_path / "out", store=tmp_path / "store")
    made = [*(tmp_path / "out").rglob("*"), *(tmp_path / "store").rglob("*")]
    made += [tmp_path / "out", tmp_path / "store"]
    assert len(made) > 10
    open_to_others = [p for p in made if stat.S_IMODE(p.lstat().st_mode) & 0o077]
    assert not [p for p in open_to_others if not p.is_symlink()]


def test_the_umask_is_that_of_before_afterwards(tmp_path):
    before = os.umask(0o022)
    try:
        with pytest.raises(KeyError), private_files():
            write_bytes(tmp_path / "a" / "private", b"")
            raise KeyError
        write_bytes(tmp_path / "b" / "open", b"")
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "private": 0o600, "b": 0o755, "open": 0o644}
