"""The audit of the locked packages warns, and never fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "audit.py"
ANSWER = {
    "dependencies": [
        {"name": "torch", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.0"]}]},
        {"name": "ray", "version": "2.0", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
        {"name": "numpy", "version": "2.0", "vulns": []},
        {"name": "own", "skip_reason": "not on the index"},
    ]
}


@pytest.fixture
def run(tmp_path):
    """A function that runs the script with a pip-audit that prints an answer and ends."""

    def run(answer: str | None, code: int = 0) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        if answer is not None:
            (tmp_path / "answer").write_text(answer)
            tool = folder / "pip-audit"
            tool.write_text(
                f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/asked\n'
                f"cat {tmp_path}/answer\nexit {code}\n"
            )
            tool.chmod(0o755)
        environment = {"PATH": f"{folder}:/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, SCRIPT], capture_output=True, text=True, env=environment, check=True
        )
        assert done.stdout == ""
        return done.stderr

    return run


def test_each_vulnerability_is_a_warning_and_no_failure(run, tmp_path):
    said = run(json.dumps(ANSWER), code=1).splitlines()
    assert said == [
        "warning: torch 1.0: CVE-1, fixed in 2.0",
        "warning: ray 2.0: CVE-2, fixed in no version",
        "audit: 2 known in 4 packages; 1 not looked up",
    ]
    asked = (tmp_path / "asked").read_text().splitlines()
    names = [line.partition("==")[0] for line in asked]
    assert {"torch", "ray", "numpy", "torchvision"} <= {*names}
    assert not [line for line in asked if "+" in line or "sha256" in line]


@pytest.mark.parametrize("answer", [None, "", "offline"])
def test_without_an_answer_one_line_says_so(run, answer):
    (line,) = run(answer, code=1).splitlines()
    assert line.startswith("audit: no answer")
