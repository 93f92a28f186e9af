"""What the benchmarks share: the order of the sides, the refusal, and the form of a result."""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("_harness")


@pytest.fixture
def clock(harness, monkeypatch):
    """A clock that a test moves: `clock[0]` seconds."""
    now = [0.0]
    monkeypatch.setattr(harness, "perf_counter", lambda: now[0])
    return now


def sides(clock, seconds, order):
    """Sides of 10 units of work; `seconds` [repetitions] by name, the first of which warms up."""

    def side(name):
        left = list(seconds[name])

        def run():
            order.append(name)
            clock[0] += left.pop(0)
            return 10.0

        return run

    return {name: side(name) for name in seconds}


def test_sides_take_turns_and_the_first_run_does_not_count(harness, clock, capsys):
    order = []
    rates = harness.interleave(
        sides(clock, {"a": [96, 0.5, 0.5625], "b": [64, 2, 2]}, order), 2, "images"
    )
    assert order == ["a", "b"] * 3
    assert rates["a"] == pytest.approx([20, 10 / 0.5625])
    assert rates["b"] == [5, 5]
    assert harness.ratio(rates, "a", "b") == pytest.approx((20 + 10 / 0.5625) / 2 / 5)
    assert capsys.readouterr().out == "a: 20 17.78 images/s\nb: 5 5 images/s\n"


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_spread_of_either_side_is_refused_after_it_is_shown(harness, clock, capsys, side):
    seconds = {"a": [1, 1, 1, 1], "b": [1, 1, 1, 1], side: [1, 1, 1, 1.3]}
    with pytest.raises(SystemExit, match=rf"refused: .* 20% .*\({side} 23%\)\. Nothing was writ"):
        harness.interleave(sides(clock, seconds, []), 3, "images")
    assert f"{side}: 10 10 7.692 images/s" in capsys.readouterr().out


def test_a_spread_of_a_fifth_is_allowed(harness):
    harness.refuse_spread({"a": [90, 100, 110]})
    with pytest.raises(SystemExit):
        harness.refuse_spread({"a": [89.9, 100, 110]})


@pytest.mark.parametrize(
    ("goal", "reached", "met"),
    [
        (">= 10 x", 10.0, True),
        (">= 10 x", 9.99, False),
        ("<= 3 %", 3.0, True),
        ("<= 3 %", 3.01, False),
        ("-", 1.0, None),
    ],
)
def test_goals(harness, goal, reached, met):
    assert harness.Row("it", goal, "that", reached).met is met


def test_a_result_has_hardware_versions_and_every_repetition(
    harness, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    rates = {"a": [10.0, 11.0], "b": [5.0, 5.0]}
    rows = [
        harness.compared("it", ">= 2 x", rates, "a", "b"),
        harness.Row("it", "-", "c", 0.5),
    ]
    harness.save("thing", rows, rates, "images", threads=1)
    result = json.loads((tmp_path / "results" / "thing.json").read_text("utf-8"))
    assert result["repetitions"] == rates
    assert result["rows"][0] == {
        "what": "it",
        "goal": ">= 2 x",
        "baseline": "b",
        "reached": 2.1,
        "low": 2.0,
        "high": 2.2,
        "met": True,
    }
    assert (result["benchmark"], result["unit"]) == ("thing", "images a second")
    assert result["notes"] == {"threads": 1}
    assert {"torch", "python", "hardware"} <= set(result["environment"])
    printed = capsys.readouterr().out
    assert printed == harness.table([result]) + "\n"
    assert "| it | b | >= 2 x | 2.1 x (2 to 2.2) | yes |" in printed
    assert "| it | c | - | 0.5 x |  |" in printed


def speaking(word):
    """A side whose work is the process's number, or the length of a variable."""
    return lambda: float(len(os.environ[word]) if word else os.getpid())


def test_a_process_has_its_own_environment(harness, monkeypatch):
    monkeypatch.delenv("BENCHMARK_WORD", raising=False)
    with (
        harness.process(speaking, "BENCHMARK_WORD", environment={"BENCHMARK_WORD": "abc"}) as three,
        harness.process(speaking, "BENCHMARK_WORD", environment={"BENCHMARK_WORD": "ab"}) as two,
        harness.process(speaking, "") as number,
    ):
        assert harness.together(three, two)() == 5
        assert number() != os.getpid()
        assert "BENCHMARK_WORD" not in os.environ


def test_every_benchmark_is_described():
    described = re.findall(
        r"^\| `(\w+)\.py` \|", (ROOT / "benchmarks" / "README.md").read_text("utf-8"), re.M
    )
    assert described == sorted(p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py"))


SMALL = {
    "name": "small",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 1},
    "score": {"name": "confidence"},
    "forget": {"size": 30},
}


def reading_damage(folder):
    """A side without checks that reads an artifact with a flipped bit; its work is 1 if it can."""
    from rum_ray.store import Artifact, Key, Store

    importlib.import_module("integrity").without_checks()
    store, key = Store(folder / "damaged"), Key("model", {"n": 1})
    store.save(key, Artifact({"x": np.arange(3)}), {})
    path = Path(store.path(key))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return lambda: float(store.find(key) is not None)


@pytest.mark.timeout(900)
def test_the_benchmark_of_integrity_in_miniature(harness, tmp_path, monkeypatch):
    integrity = importlib.import_module("integrity")
    monkeypatch.setattr(os, "fsync", os.fsync)
    with contextlib.ExitStack() as stack:

        def start(make, *arguments):
            return stack.enter_context(harness.process(make, tmp_path, *arguments))

        assert start(reading_damage)() == 1
        sides = {f"{checks}": start(integrity.study, checks, SMALL) for checks in (True, False)}
        sides["state"] = integrity.state(tmp_path, True, "mlp")
        rates = integrity.rates_of(sides, turns=1)
    assert all(len(values) == 1 and values[0] > 0 for values in rates.values())
    assert len([*tmp_path.glob("states*/states/*")]) == 1


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def test_the_gpu_benchmark_in_miniature(tmp_path):
    """It runs where only PyTorch and NumPy can be imported."""
    absent = [
        "PIL",
        "pyarrow",
        "pydantic",
        "ray",
        "safetensors",
        "sklearn",
        "torchvision",
        "filelock",
        "yaml",
        "typer",
    ]
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys({absent}));"
        "sys.argv[1:] = {arguments}; sys.path.insert(0, {folder});"
        "runpy.run_path({script}, run_name='__main__')"
    )
    small = "--device cpu --models fast_cnn --workers 1 --examples 16 --epochs 1 --out gpu.json"
    script = ROOT / "benchmarks" / "gpu.py"
    code = code.format(
        absent=absent,
        arguments=small.split(),
        folder=repr(str(script.parent)),
        script=repr(str(script)),
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert result["skipped"] == {}
    assert {"flop_per_image", "bits fast_cnn", "processes fast_cnn 1"} <= set(result["parts"])
    by_name = {goal["what"]: goal for goal in result["goals"]}
    assert by_name["fast_cnn, equal bits for the same seed"]["met"] is True
    assert by_name["resnet18, MFU"]["met"] is None
    assert "1 measured epochs of 30" in result["extrapolated"]


def test_the_benchmarked_resnet_is_that_of_the_package(gpu):
    import torch

    from rum_ray.models import build

    bare = importlib.import_module("_bare")
    ours, theirs = build(bare.RESNET, (3, 32, 32), 10), build("resnet18", (3, 32, 32), 10)
    shapes = [[tuple(p.shape) for p in model.parameters()] for model in (ours, theirs)]
    assert sorted(shapes[0]) == sorted(shapes[1])
    with torch.no_grad():
        for parameter in (*ours.parameters(), *theirs.parameters()):
            parameter.fill_(0.01)
        x = torch.rand(2, 3, 32, 32)
        assert torch.allclose(ours.eval()(x), theirs.eval()(x), rtol=1e-4)


def test_goals_of_a_gpu_are_met_missed_or_not_measured(gpu):
    run = {"models_per_hour": 260.0, "images_per_second": 1e5}
    parts = {
        "flop_per_image": {"resnet18": 3.3e9},
        "processes resnet18 1": run | {"models_per_hour": 100.0},
        "processes resnet18 2": run,
        "bits resnet18": ["a", "b"],
    }
    found = {goal["what"]: goal for goal in gpu.goals(parts, "NVIDIA H200")}
    assert found["resnet18, models an hour, 30 epochs"]["met"] is True
    assert found["resnet18, MFU"]["reached"] == pytest.approx(3.3e14 / 989e12)
    assert found["resnet18, equal bits for the same seed"]["met"] is False
    assert found["fast_cnn, models an hour, 30 epochs"]["met"] is None
    unknown = {goal["what"]: goal for goal in gpu.goals(parts, "another device")}
    assert unknown["resnet18, MFU"]["met"] is None
