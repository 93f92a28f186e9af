"""The statistics that decide the paper's claims, on finished studies that are made up."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rum_ray import config
from rum_ray.config.strict_yaml import read
from rum_ray.paper.catalogue import FOLDER, catalogue, studies
from rum_ray.results.schema import ExperimentSummary, Metric, Row, Summary

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = ROOT / "experiments" / "results" / "cifar10_claims.json"
REPEATS = 5


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The generator of experiments/README.md, with an empty folder of results."""
    spec = importlib.util.spec_from_file_location("made", ROOT / "docs" / "make_experiments.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "made", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def rows(**tows: list[float]) -> tuple[Row, ...]:
    """Rows of unlearners on the whole forget set."""
    metrics = {name: {"tow": Metric(float(np.mean(v)), None, tuple(v))} for name, v in tows.items()}
    return tuple(
        Row("vanilla", name, "search", 8, (), tuple(range(1, REPEATS + 1)), found, {})
        for name, found in metrics.items()
    )


def finish(folder: Path, item: str, study: str, found: tuple[Row, ...]) -> None:
    """Write the report of a study."""
    (part,) = (each for each in studies(item) if each.name == study)
    experiment = part.experiment()
    summary = Summary.from_json(json.loads(CLAIMS.read_text("utf-8")))
    identity = ExperimentSummary(experiment.name, "0" * 64, config.dump(experiment))
    tree = replace(summary, experiment=identity, rows=found).to_json()
    (folder / f"{experiment.name}.json").write_text(json.dumps(tree))


def test_every_question_has_an_item_and_a_statistic(made):
    questions = read(FOLDER / "published.yaml")["questions"]
    assert questions.keys() == made.MEASURES.keys()
    assert {each["item"] for each in questions.values()} <= catalogue().items.keys()
    items = catalogue().items
    asked = {each["item"] for each in questions.values()}
    assert all(name in asked or item.of for name, item in items.items())


def test_nothing_is_measured_without_results(made):
    assert {measure() for measure in made.MEASURES.values()} == {None}


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((0.3, 0.2), "holds"),
        ((0.1, 0.2), "not shown"),
        ((-0.1, 0.2), "not shown"),
        ((-0.3, 0.2), "fails"),
        ((-0.01, 0.005, -0.02), "holds"),
        ((-0.03, 0.005, -0.02), "fails"),
        ((-0.3, 0.2, 0.0, -1), "holds"),
        ((0.3, 0.2, 0.0, -1), "fails"),
    ],
)
def test_the_interval_decides(made, numbers, verdict):
    assert made.Measured(*numbers).verdict == verdict


def test_the_fall_is_paired_by_repeat(made, tmp_path):
    rng = np.random.default_rng(1)
    low, high = rng.uniform(0.6, 0.9, size=(2, 2, REPEATS))
    for study, values in (("low", low), ("high", high)):
        finish(tmp_path, "memorization", study, rows(finetune=[*values[0]], salun=[*values[1]]))
    found, difference = made.MEASURES["Q2"](), (low - high).mean(axis=0)
    assert found.mean == pytest.approx(difference.mean())
    interval = stats.t.interval(0.95, REPEATS - 1, difference.mean(), stats.sem(difference))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx(interval)
    relabelling = made.MEASURES["Q3"]()
    lost = (low[0] - low[1]) - (high[0] - high[1])
    assert relabelling.mean == pytest.approx(lost.mean())


def test_a_result_of_another_experiment_does_not_count(made, tmp_path):
    finish(tmp_path, "memorization", "low", rows(finetune=[0.9] * REPEATS))
    finish(tmp_path, "memorization", "high", rows(finetune=[0.8] * REPEATS))
    assert made.MEASURES["Q2"]() is not None
    (path,) = tmp_path.glob("*-high.json")
    path.write_text(path.read_text().replace("epochs: 15", "epochs: 16"))
    assert made.MEASURES["Q2"]() is None


def test_the_lead_of_refined_rows_needs_both_tuned(made, tmp_path):
    plain = rows(finetune=[0.7, 0.7, 0.8, 0.8, 0.8], salun=[0.5] * REPEATS)
    refined = tuple(
        replace(row, method="rum_f", untuned=row.unlearner == "salun",
                metrics={"tow": Metric(0.9, None, (0.9,) * REPEATS)})
        for row in plain
    )  # fmt: skip
    finish(tmp_path, "table1", "", (*plain, *refined))
    (tmp_path / "table1-cifar10-small.json").rename(tmp_path / "cifar10_claims.json")
    assert made.MEASURES["Q4"]().mean == pytest.approx(0.14)
    untuned = tuple(replace(row, untuned=True) for row in refined)
    finish(tmp_path, "table1", "", (*plain, *untuned))
    (tmp_path / "table1-cifar10-small.json").rename(tmp_path / "cifar10_claims.json")
    assert made.MEASURES["Q4"]() == made.CAPPED


def test_the_committed_result_is_the_table(made, monkeypatch):
    monkeypatch.setattr(made, "RESULTS", CLAIMS.parent)
    rum = next(
        row for row in json.loads(CLAIMS.read_text("utf-8"))["rows"]
        if (row["method"], row["source"]) == ("rum", "search")
    )  # fmt: skip
    (line,) = (
        each for each in made.render()["../experiments/README.md"].splitlines() if "| RUM |" in each
    )
    assert f"{rum['metrics']['tow']['mean']:.3f} ± {rum['metrics']['tow']['ci95']:.3f}" in line
    assert "0.965 ± 0.014" in line
