"""The scripts of examples/ run, print what their pages say, and need no Ray."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WITHOUT_RAY = """\
import runpy, sys
sys.path.insert(0, {folder!r})
runpy.run_path({script!r}, run_name="__main__")
assert "ray" not in sys.modules
"""


def output_of(name: str) -> str:
    """Run a script in a fresh interpreter with warnings as errors; return its output."""
    script = EXAMPLES / f"{name}.py"
    code = WITHOUT_RAY.format(folder=str(EXAMPLES), script=str(script))
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wrong_labels_are_memorized():
    wrong, right = re.findall(r"(\d\.\d+) for", output_of("score"))
    assert float(wrong) > 0.4 > 0.2 > float(right)


def test_a_plan_comes_nearer_to_the_retrained_model_than_the_original():
    original, unlearned = map(float, re.findall(r"ToW (\d\.\d+)", output_of("plan_in_python")))
    assert original < 0.7 < 0.8 < unlearned


def test_own_data_and_an_own_model_are_learned_and_forgotten():
    accuracy, tow = map(float, re.findall(r"(?:points: |ToW )(\d\.\d+)", output_of("own_data_and_model")))
    assert accuracy > 0.6
    assert tow > 0.8


def test_an_own_unlearner_unlearns():
    finetune, flatten = map(float, re.findall(r"ToW (\d\.\d+)", output_of("own_unlearner")))
    assert min(finetune, flatten) > 0.6


def test_a_report_is_read_as_data_frames():
    output = output_of("read_report")
    retrained = re.search(r"^retrained +(\d\.\d+)", output, re.M)
    assert retrained
    assert float(retrained[1]) == 1
    assert [*re.findall(r"^(low|medium|high) ", output, re.M)] == ["high", "low", "medium"]
