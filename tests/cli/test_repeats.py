"""The commands on an experiment with repeats."""

import json

import pytest

SMALL = """
name: small
data: digits
recipe: {model: mlp, epochs: 1, batch_size: 64}
score: {name: confidence}
forget: {size: 30}
plan: {low: nothing, medium: nothing, high: {name: finetune, epochs: 1}}
repeats: 2
"""
HERE = ("--address", "none", "--set", "cluster.workers=1")


@pytest.fixture(autouse=True)
def _file(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)


def asked(call, *arguments: str) -> dict:
    here = HERE if arguments[0] == "run" else HERE[2:]
    code, out, err = call(*arguments, "--json", *here)
    assert code == 0, err
    return json.loads(out)


def missing(call, *flags: str) -> dict[str, int]:
    forecast = asked(call, "run", "small.yaml", "--dry-run", *flags)["forecast"]
    return {stage["stage"]: stage["missing"] for stage in forecast}


def test_a_run_resumes_and_reports(call, tmp_path, monkeypatch):
    alone, both = missing(call, "--set", "repeats=1"), missing(call)
    assert both == {stage: 2 * jobs for stage, jobs in alone.items()}
    assert not (tmp_path / "out").exists()

    # A run without repeats has the results of the first repeat.
    asked(call, "run", "small.yaml", "--set", "repeats=1", "--out", "alone")
    assert missing(call) == alone
    found = asked(call, "run", "small.yaml")
    assert [each["number"] for each in found["repeats"]] == [1, 2]
    out = tmp_path / "out" / "small"
    assert json.loads((out / "report.json").read_text("utf-8")) == found
    assert set(missing(call).values()) == {0}

    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert asked(call, "report", "small.yaml")["rows"] == found["rows"]
    assert (out / "report.html").read_bytes() == page
    for name in ("repeat1", "repeat2"):
        again = asked(call, "report", f"out/small/{name}/experiment.yaml", "--out", f"out/{name}")
        assert again["repeats"] == []


def test_a_verb_works_in_each_study(call, tmp_path):
    code, out, err = call("unlearn", "small.yaml", *HERE)
    assert code == 0, err
    for name in ("repeat1", "repeat2"):
        assert f"out/small/{name}/unlearned/seed" in out
    one, other = (
        (tmp_path / f"out/small/{name}/unlearned" / file).read_bytes()
        for name, file in (("repeat1", "seed0.safetensors"), ("repeat2", "seed1.safetensors"))
    )
    assert one != other


def test_the_estimate_is_the_sum(call):
    found = asked(call, "estimate", "small.yaml", "--price", "2")
    assert found["repeats"] == 2
    assert sum(line["trainings"] for line in found["forecast"]) == pytest.approx(found["trainings"])
    for device in found["devices"]:
        assert device["price"] == pytest.approx(2 * device["device_hours"])
        assert 0 <= device["busy"] <= 1


def test_a_folder_holds_one_experiment_with_its_repeats(call):
    asked(call, "run", "small.yaml")
    code, _, err = call("run", "small.yaml", "--set", "seeds=[5]", *HERE)
    assert code == 4
    assert "another experiment" in err
