import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import rum_ray
from rum_ray import __version__, config
from rum_ray.cli import app
from rum_ray.cli.workplace import EXPERIMENT, claimed
from rum_ray.errors import BusyError, StoreError

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
VERBS = "demo run train score refine unlearn evaluate tune report estimate doctor".split()
FLAGS = set("--set --seed --address --out --store --dashboard --dry-run --json --debug".split())
NAMES = set("python torch ray store cores".split())

SMALL = """
name: small
data: digits
recipe: {model: mlp, epochs: 1, batch_size: 64}
score: {name: confidence}
forget: {size: 30}
compare: [finetune]
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path, monkeypatch, capfd) -> Iterator[Call]:
    """A function that runs the command line in this process, in an empty folder, without Ray."""
    # Loaded lazily by the command line; here, so that no test pays for it.
    import ray

    import rum_ray.cli.verbs  # noqa: F401

    def leave(code: int) -> None:
        raise SystemExit(code)

    def init(**options: object) -> None:
        pytest.fail("Ray was started")

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "file").write_text("in the way\n")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rum-ray", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main()
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    yield call
    signal.signal(signal.SIGTERM, handler)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def commands() -> dict[str, typer.core.TyperCommand]:
    return typer.main.get_command(app.app).commands


def test_the_verbs_are_these():
    assert sorted(commands()) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_the_flags(verb):
    options = {name for parameter in commands()[verb].params for name in parameter.opts}
    arguments = options - FLAGS - {"--help"}
    if verb == "doctor":
        assert {"--store", "--json", "--debug"} <= options
        return
    assert options >= FLAGS
    assert arguments == {"demo": set(), "report": {"files"}}.get(verb, {"file"})


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_verbs(call, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert all(f" {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(call, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = call(verb, "--help")
    assert (code, err) == (0, "")
    assert "--json" in out
    assert "--address" in out or verb == "doctor"


def test_version(call):
    assert call("--version") == (0, f"{__version__}\n", "")


SIZED = "forget.size=30"
ERRORS = [
    # Usage.
    (["nosuch"], 2, r"No such command 'nosuch'\. See 'rum-ray --help'"),
    (["run"], 2, r"Missing argument 'file'\. See 'rum-ray --help'"),
    (["run", "small.yaml", "--worker", "3"], 2, r"No such option: --worker .*--store"),
    (["run", "small.yaml", "--seed", "x"], 2, r"Invalid value for '--seed'"),
    (["run", "small.yaml", "--seed"], 2, r"Option '--seed' requires an argument"),
    (["run", "small.yaml", "more.yaml"], 2, r"unexpected extra argument"),
    (["report", "small.yaml", "small.yaml", "--out", "x"], 2, r"--out is for one experiment"),
    # The experiment file.
    (["run", "no.yaml"], 2, r"experiment no\.yaml cannot be read: No such file or directory\.$"),
    (["run", "."], 2, r"experiment \. cannot be read: Is a directory\.$"),
    (["run", "file"], 2, r"experiment file must be a mapping of keys, got 'in the way'\.$"),
    (["run", "small.yaml", "--set", "recipe.epoch=3"], 2, r"unknown key 'recipe\.epoch'.*epochs'"),
    (["demo", "--set", "recipe.lr=0"], 2, r"recipe\.lr must be positive, got 0"),
    (["demo", "--set", "lr"], 2, r"--set lr: expected key=value"),
    (["demo", "--set", "recipe.lr=!!x 1"], 8, r"a YAML tag in line 1 is not allowed"),
    (["demo", "--set", "data.label_noise=2"], 2, r"data: label_noise must be in \[0, 1\), got 2"),
    # What the verb needs.
    (["tune", "small.yaml"], 2, r"no key 'search', so there is nothing to tune"),
    (["unlearn", "small.yaml"], 2, r"no key 'plan', so there is nothing to unlearn with"),
    (["evaluate", "small.yaml"], 2, r"no key 'plan', so there is nothing to unlearn with"),
    (["report", "small.yaml"], 6, r"stage 'train' is not finished: 2 results .*'rum-ray run' fir"),
    # What can be known before anything is trained.
    (["run", "small.yaml", "--set", "forget.size=1200"], 2, r"1200 cannot be chosen from 1200 ex"),
    (["run", "small.yaml", "--set", "forget.size=2"], 2, r"2 examples cannot be split into 3 sub"),
    (
        ["run", "small.yaml", "--set", "refine={name: by_score, into: [a, a]}"],
        2,
        r"two subsets have the same name",
    ),
    (["demo", "--set", "score.models=8"], 3, r"memorization is unknown for \d+ of 1200 examples"),
    # Data.
    (["run", "small.yaml", "--set", "data={name: cifar10, root: no}"], 3, r"data not found: no/tr"),
    (["run", "small.yaml", "--set", "score={file: no.parquet}"], 3, r"scores no\.parquet cannot"),
    (["run", "small.yaml", "--set", "score={file: file}"], 3, r"scores file cannot be read: "),
    (["run", "small.yaml", "--set", "forget={ids: no}"], 3, r"list of ids no cannot be read: "),
    (["run", "small.yaml", "--set", "forget={ids: file}"], 3, r"line 1: expected a plain integer"),
    # Where to write.
    (["run", "small.yaml", "--store", "file/x"], 6, r"cannot write to the store .*/file/x: "),
    (["run", "small.yaml", "--store", "file"], 6, r"cannot write to the store .*/file: "),
    (["run", "small.yaml", "--store", "ftp://x"], 6, r"store 'ftp://x' cannot be opened: "),
    (["run", "small.yaml", "--out", "file/x"], 6, r"cannot write to file/x: .* another --out\.$"),
    (["run", "small.yaml", "--out", "file"], 6, r"cannot write to file: .* another --out\.$"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "message"), ERRORS, ids=[" ".join(a) for a, *_ in ERRORS]
)
def test_an_error_is_one_line_and_leaves_nothing_behind(call, tmp_path, arguments, code, message):
    before = listing(tmp_path)
    left, out, err = call(*arguments)
    assert (left, out) == (code, "")
    assert err.startswith("rum-ray: ")
    assert err.count("\n") == 1
    import re

    assert re.search(message, err.strip()), err
    assert listing(tmp_path) == before
    assert call(*arguments, "--json") == (left, out, err) or "--worker" in arguments or code == 2


BAD_IDS = [
    ("", r"is empty; name at least one"),
    ("3\n-1\n", r"line 2: expected a plain integer, got '-1'"),
    ("3.0\n", r"line 1: expected a plain integer, got '3\.0'"),
    ("1e3\n", r"line 1: expected a plain integer, got '1e3'"),
    ("id\n3\n", r"line 1: expected a plain integer, got 'id'"),
    ("0\n\n3\n", r"line 2: expected a plain integer, got ''"),
    ("0\n3\n0\n", r"id 0 is on lines 1 and 3"),
    ("1797\n", r"line 1: id 1797 "),
]


@pytest.mark.parametrize(("text", "message"), BAD_IDS)
def test_errors_in_a_list_of_ids(call, tmp_path, text, message):
    (tmp_path / "ids").write_text(text)
    code, out, err = call("run", "small.yaml", "--set", "forget={ids: ids}")
    assert (code, out, err.count("\n")) == (3, "", 1)
    import re

    assert re.search(message, err), err
