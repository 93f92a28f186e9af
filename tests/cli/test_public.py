"""`report --public`: every id and path of an experiment is searched for in what it writes."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

OFFSET = 900_719_000_000
"""Row numbers that no other number looks like."""
PLUG_IN = f'''
"""The digits, with row numbers and names that can be searched for."""

import dataclasses

import numpy as np

from rum_ray.data import DataBundle
from rum_ray.data import digits as whole
from rum_ray.data.ids import Names


def digits(root: str) -> DataBundle:
    data = whole()
    names = Names(np.array([f"secret-{{each}}.png" for each in data.train.ids], dtype=object))
    train = dataclasses.replace(data.train, ids=data.train.ids + {OFFSET}, names=names)
    return dataclasses.replace(data, train=train)
'''
FILE = """
name: mine
data: {name: "searched:digits", root: secret_root}
recipe: {model: mlp, epochs: 2, batch_size: 256, init: secret_init.safetensors}
score: {models: 16, fraction: 0.5}
forget: {ids: secret_ids.txt}
plan: {low: nothing, medium: {name: finetune, epochs: 1}, high: {name: salun, epochs: 1}}
cluster: {modules: [secret_modules]}
seeds: [800817, 800818]
"""
ARGUMENTS = ("mine.yaml", "--out", "secret_out", "--set", "cluster.workers=1")
ALONE = ("--address", "none")


@pytest.fixture
def names(tmp_path, monkeypatch) -> list[str]:
    """The files of an experiment; returns the names of its forget set."""
    from safetensors.torch import save_file

    from rum_ray.data import load
    from rum_ray.seeding import Seed
    from rum_ray.training import LocalRuntime, Recipe

    (tmp_path / "searched.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("USER", "secret_user")
    monkeypatch.setattr("platform.node", lambda: "secret_host")
    monkeypatch.setattr("socket.gethostname", lambda: "secret_host")
    train = load("digits").train
    model = Recipe("mlp", epochs=1).fit(train, LocalRuntime(Seed(0)) / "init")
    save_file(model.state_dict(), tmp_path / "secret_init.safetensors")
    found = [f"secret-{each}.png" for each in train.ids[:60]]
    (tmp_path / "secret_ids.txt").write_text("".join(f"{name}\n" for name in found))
    (tmp_path / "secret_modules").mkdir()
    (tmp_path / "mine.yaml").write_text(FILE)
    return found


def decoded(content: bytes) -> list[bytes]:
    """A file, all that it embeds in base64, and the texts in embedded pictures."""
    found = [content]
    for part in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
        found.append(base64.b64decode(part))
        with Image.open(io.BytesIO(found[-1])) as picture:
            picture.load()
            found.append(repr(picture.info).encode())
    return found


def told(folder: Path, secrets: list[str]) -> set[str]:
    """The secrets in the files of a folder, in their names and in what they embed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    parts = [part for path in files for part in decoded(path.read_bytes())]
    parts += [str(path.relative_to(folder)).encode() for path in files]
    return {each for each in secrets if any(each.encode() in part for part in parts)}


def test_no_id_and_no_path_is_in_a_public_report(call, tmp_path, names):
    code, _, err = call("run", *ARGUMENTS, *ALONE)
    assert code == 0, err
    out, public = tmp_path / "secret_out", tmp_path / "secret_out" / "public"
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert not public.exists()

    code, said, err = call("report", *ARGUMENTS, "--public", "--json")
    assert code == 0, err
    import pandas as pd

    ids = pd.read_parquet(out / "scores.parquet")["id"]
    assert len(ids) == 1200
    assert (ids >= OFFSET).all()
    paths = ["secret_root", "secret_init", "secret_ids", "secret_modules", str(tmp_path)]
    secrets = [*map(str, ids), *names, *paths, "secret", "searched.py", "800817"]
    assert told(public, secrets) == set()
    assert {path.name for path in public.iterdir()} == {"report.html", "report.md", "report.json"}
    assert {path.stat().st_mode & 0o777 for path in public.iterdir()} == {0o600}
    assert json.loads(said) == json.loads((public / "report.json").read_text("utf-8"))

    # The private report has some of them, so the search would find them.
    assert {"secret_root", "secret_ids", "secret", "800817"} <= told(out, secrets)
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert after.keys() >= before.keys()
    assert after["scores.parquet"] == before["scores.parquet"]
    private = json.loads(after["report.json"])
    assert "public" not in private
    digest = private["experiment"]["digest"]
    assert told(public, [digest]) == set()
    assert told(out, [digest]) == {digest}

    # Rows of the forget set are no numbers of the page either.
    rows = np.flatnonzero(np.isin(ids, [OFFSET + int(name[7:-4]) for name in names])).tolist()
    assert len(rows) == 60
    listed = ", ".join(map(str, rows[:4]))
    assert told(public, [listed, f"[{listed}", " ".join(map(str, rows[:4]))]) == set()

    few = "".join(f"{name}\n" for name in names[:9])
    (tmp_path / "secret_ids.txt").write_text(few)
    shutil.rmtree(public)
    assert call("run", *ARGUMENTS, *ALONE, "--out", "few")[0] == 0
    code, _, err = call("report", *ARGUMENTS, "--out", "few", "--public")
    assert code == 2
    assert "--public" in err
    assert not (tmp_path / "few" / "public").exists()
