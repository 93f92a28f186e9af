"""The scripts of examples/ run, print what their pages say, and need no Ray."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# All scripts share one fresh interpreter: importing PyTorch takes longer than most of them.
RUN_ALL = """
import contextlib, io, json, pathlib, runpy, sys, traceback
sys.path.insert(0, sys.argv[1])
printed = {}
for script in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except BaseException:
            traceback.print_exc(file=output)
    printed[script.stem] = output.getvalue()
print(json.dumps({"printed": printed, "ray": "ray" in sys.modules}))
"""


@pytest.fixture(scope="module")
def answers():
    """The output of each script, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", RUN_ALL, str(EXAMPLES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def printed(answers):
    return answers["printed"]


def tows(text: str) -> list[float]:
    """Return the ToW values in an output, in order."""
    found = [float(number) for number in re.findall(r"ToW (\d\.\d+)", text)]
    assert found, text
    return found


def test_no_example_needs_ray(answers):
    assert not answers["ray"]


def test_wrong_labels_are_memorized(printed):
    wrong, right = map(float, re.findall(r"(\d\.\d+) for", printed["score"]))
    assert wrong > 0.4 > 0.2 > right


def test_a_plan_comes_nearer_to_the_retrained_model_than_the_original(printed):
    original, unlearned = tows(printed["plan_in_python"])
    assert original < 0.7 < 0.8 < unlearned


def test_own_data_and_an_own_model_are_learned_and_forgotten(printed):
    (accuracy,) = re.findall(r"points: (\d\.\d+)", printed["own_data_and_model"])
    assert float(accuracy) > 0.6
    assert tows(printed["own_data_and_model"])[0] > 0.8


def test_an_own_unlearner_unlearns(printed):
    assert min(tows(printed["own_unlearner"])) > 0.6


def test_a_report_is_read_as_data_frames(printed):
    output = printed["read_report"]
    assert re.search(r"^retrained +1\.0", output, re.M), output
    assert re.findall(r"^(low|medium|high) ", output, re.M) == ["high", "low", "medium"]
