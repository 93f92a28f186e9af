"""One report over repeats: laws, and a small whole run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import rum_ray as rr
from rum_ray import config
from rum_ray.results.repeats import combine, merged, over_repeats
from rum_ray.results.report import Report
from rum_ray.results.schema import ExperimentSummary, Metric, Row, RowName, Summary

DEMO = Path(__file__).parents[1] / "report" / "demo"
IDENTITY = ExperimentSummary("many", "0" * 64, "name: many")
FILE = {
    "name": "small",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 1, "batch_size": 64},
    "score": {"name": "confidence"},
    "forget": {"size": 30},
    "plan": {"low": "nothing", "medium": "nothing", "high": {"name": "finetune", "epochs": 1}},
    "seeds": [0, 1],
}


@pytest.fixture(scope="module")
def demo() -> Summary:
    return Report.read(DEMO).summary


def shifted(summary: Summary, by: float) -> Summary:
    """A summary whose metrics differ, by another amount in each row."""

    def change(place: int, row: Row) -> Row:
        lead = by * (1 + place % 3)
        metrics = {n: replace(m, mean=None if m.mean is None else m.mean + lead)
                   for n, m in row.metrics.items()}  # fmt: skip
        return replace(row, metrics=metrics)

    return replace(summary, rows=tuple(change(*each) for each in enumerate(summary.rows)))


def by_name(summary: Summary) -> dict[tuple[str, str | None, str | None], Row]:
    return {(row.method, row.unlearner, row.source): row for row in summary.rows}


def test_equal_repeats_have_the_same_means_and_no_width(demo):
    found = combine(IDENTITY, [demo] * 4)
    rows = by_name(found)
    for row in demo.rows:
        ours = rows[row.method, row.unlearner, row.source]
        assert ours.metrics.keys() == row.metrics.keys()
        for name, metric in row.metrics.items():
            mean, half = ours.metrics[name].mean, ours.metrics[name].ci95
            assert (mean is None) == (metric.mean is None), name
            if mean is not None:
                assert mean == pytest.approx(metric.mean, abs=1e-12)
                assert half == pytest.approx(0, abs=1e-12)
        assert (ours.plan, ours.trials, ours.worst) == (row.plan, row.trials, row.worst)
    assert (found.data, found.forget) == (demo.data, demo.forget)
    assert found.costs.scores == pytest.approx(4 * demo.costs.scores)
    assert [each.number for each in found.repeats] == [1, 2, 3, 4]
    assert Summary.from_json(json.loads(json.dumps(found.to_json()))).rows == found.rows


def test_the_order_of_the_repeats_changes_nothing(demo):
    repeats = [shifted(demo, by) for by in (0.0, 0.013, -0.02, 0.004)]
    one = combine(IDENTITY, repeats)
    other = combine(IDENTITY, [repeats[place] for place in (2, 0, 3, 1)])
    rows = by_name(other)
    for row in one.rows:
        for name, metric in row.metrics.items():
            same = rows[row.method, row.unlearner, row.source].metrics[name]
            if metric.mean is None:
                assert same.mean is None
            else:
                assert same.mean == pytest.approx(metric.mean, abs=1e-12)
                assert same.ci95 == pytest.approx(metric.ci95, abs=1e-12)
    told = [[(c.a, c.b, c.verdict, c.repeats) for c in each.comparisons] for each in (one, other)]
    assert told[0] == told[1]
    assert {claim.repeats for claim in one.comparisons} == {4}


def test_a_claim_is_paired_by_repeat(demo):
    repeats = [shifted(demo, by) for by in (0.0, 0.013, -0.02, 0.004, 0.03)]
    found = combine(IDENTITY, repeats)
    ours = [by_name(each)["rum", None, "search"].metrics["objective"].mean for each in repeats]
    theirs = [by_name(each)["original", None, None].metrics["objective"].mean for each in repeats]
    (claim,) = (each for each in found.comparisons if each.b == "original")
    lead = np.subtract(ours, theirs)
    assert claim.mean == pytest.approx(lead.mean())
    assert claim.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert claim.low == pytest.approx(stats.t.interval(0.95, 4, lead.mean(), stats.sem(lead))[0])


def test_a_row_counts_under_each_of_its_names(demo):
    """A pick that equals RUM's plan in one repeat is still compared over all repeats."""
    (single,) = (row for row in demo.rows if row.method == "best_single")
    name = RowName(single.method, "scrub", single.source, single.trials)
    together = replace(demo, rows=tuple(
        replace(row, also=(name,)) if (row.method, row.source) == ("rum", "search") else row
        for row in demo.rows if row is not single
    ))  # fmt: skip
    found = by_name(combine(IDENTITY, [demo, demo, together]))
    ours = found["best_single", None, single.source].metrics["objective"]
    rum = by_name(demo)["rum", None, "search"].metrics["objective"].mean
    mean = single.metrics["objective"].mean
    assert ours.values == (mean, mean, rum)
    assert found["rum", None, "search"].also == ()


def test_a_row_that_one_repeat_lacks_is_left_out(demo):
    fewer = replace(demo, rows=tuple(row for row in demo.rows if row.method != "vanilla"))
    found = combine(IDENTITY, [demo, fewer, demo])
    assert "vanilla" not in {row.method for row in found.rows}
    assert found.variants == ()


def test_two_repeats_claim_nothing(demo):
    found = combine(IDENTITY, [demo, demo])
    assert found.comparisons == found.variants == ()
    assert "cannot show" in found.warnings[0]


def test_a_value_that_one_repeat_lacks_is_unknown():
    found = over_repeats([Metric(0.5), Metric.missing("too few seeds")])
    assert (found.mean, found.values, found.reason) == (None, (0.5, None), "too few seeds")
    assert merged([1.0, None]) is None
    assert merged([3, 4, 6]) == 4
    assert merged([True, False]) is False
    assert merged(["b", "a", "b"]) == "a; b"
    assert merged([{"x": 1.0, "y": 2.0}, {"x": 2.0}]) == {"x": 1.5}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[..., Path]:
    """Runs the small experiment in one store; returns its folder."""
    place = tmp_path_factory.mktemp("repeats")

    def one(name: str, **keys: object) -> Path:
        rr.run(config.parse({**FILE, **keys}), out=place / name, store=place / "store")
        return place / name

    return one


def rows_of(folder: Path) -> list[dict]:
    """The rows of a report, without the times."""
    rows = json.loads((folder / "report.json").read_text("utf-8"))["rows"]
    for row in rows:
        row["metrics"].pop("seconds", None)
    return rows


def test_a_whole_run_over_two_repeats(run):
    many = run("many", repeats=2)
    alone = run("alone")
    assert rows_of(many / "repeat1") == rows_of(alone)
    stages = json.loads((alone / "stages.json").read_text("utf-8"))
    assert sum(stage["made"] for stage in stages) == 0, "repeat 1 shares the results of the store"

    parts = [rr.read_report(many / f"repeat{number}") for number in (1, 2)]
    whole = rr.read_report(many)
    forget = [set(p.scores[p.scores["subset"].notna()]["id"]) for p in parts]
    assert forget[0] != forget[1]
    for row in whole.summary.rows:
        key = row.method, row.unlearner, row.source
        values = [by_name(part.summary)[key].metrics["objective"].mean for part in parts]
        metric = row.metrics["objective"]
        assert metric.values == tuple(values)
        assert metric.mean == pytest.approx(np.mean(values))
        if np.ptp(values):
            low, _ = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
            assert metric.mean - metric.ci95 == pytest.approx(low)
    assert list(whole.scores["repeat"].unique()) == [1, 2]
    assert len(whole.scores) == 2400
    page = (many / "report.html").read_text("utf-8")
    for number in (1, 2):
        assert f'href="repeat{number}/report.html"' in page
    text = (many / "report.md").read_text("utf-8")
    assert "for this forget set" not in text
    assert "2 repeats" in text
