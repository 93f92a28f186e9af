"""`--track` on the command line: errors come before all work, and a failure loses nothing."""

import sys

import pytest

SMALL = """
name: small
data: digits
recipe: {model: mlp, epochs: 1, batch_size: 64}
score: {name: confidence}
forget: {size: 30}
compare: [finetune]
"""
HERE = ("--address", "none", "--set", "cluster.workers=1")
STUB = '''
"""A tracker that is installed and fails."""


def init(**arguments):
    raise RuntimeError("nobody\\nanswers")
'''


@pytest.fixture(autouse=True)
def _file(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)


def test_a_missing_package_is_an_error_before_any_work(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = call("run", "small.yaml", *HERE, "--track", "wandb:mine")
    assert (code, out) == (2, "")
    assert err.startswith("rum-ray: ")
    assert "pip install wandb" in err
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_tracker_that_fails_is_one_warning_and_the_report_is_there(call, tmp_path, monkeypatch):
    (tmp_path / "stub" / "wandb").mkdir(parents=True)
    (tmp_path / "stub" / "wandb" / "__init__.py").write_text(STUB)
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    code, out, err = call("run", "small.yaml", *HERE, "--track", "wandb:mine")
    monkeypatch.delitem(sys.modules, "wandb")
    assert code == 0, err
    assert "report: out/small/report.html" in out
    assert {"report.html", "report.json"} < {
        path.name for path in (tmp_path / "out" / "small").iterdir()
    }
    warnings = [line for line in err.splitlines() if "--track" in line]
    assert warnings == [err.splitlines()[-1]]
    assert "RuntimeError: nobody answers" in warnings[0]
    assert "--track wandb failed" in (tmp_path / "out/small/progress.jsonl").read_text("utf-8")
