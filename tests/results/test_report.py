"""A report in Python: data frames of rows and searches, and reading from disk."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rum_ray.errors import DataError
from rum_ray.results.report import Report
from rum_ray.results.schema import Metric, Summary

DEMO = Path(__file__).parents[1] / "report" / "demo"


@pytest.fixture(scope="module")
def report() -> Report:
    return Report.read(DEMO)


def test_a_folder_and_its_json_are_the_same_report(report):
    other = Report.read(DEMO / "report.json")
    assert other.summary == report.summary
    pd.testing.assert_frame_equal(other.trials, report.trials)
    pd.testing.assert_frame_equal(other.scores, report.scores)


def test_rows_have_one_line_per_method_and_seed(report):
    rows = report.rows
    assert list(rows.columns[:4]) == ["method", "unlearner", "source", "seed"]
    assert len(rows) == sum(len(row.seeds) for row in report.summary.rows)
    rum = rows[(rows["method"] == "rum") & (rows["source"] == "search")]
    (row,) = (r for r in report.summary.rows if (r.method, r.source) == ("rum", "search"))
    for name, metric in row.metrics.items():
        assert rum[name].tolist() == list(metric.values)
    assert rum["seed"].tolist() == list(row.seeds)


def test_a_metric_that_a_row_lacks_is_nan(report):
    first, *others = report.summary.rows
    few = replace(first, metrics={**first.metrics, "more": Metric(1.0, None, (1.0, None))})
    few = replace(few, seeds=(0, 1), metrics={"more": few.metrics["more"]})
    rows = Report(replace(report.summary, rows=(few, *others)), report.scores, report.trials).rows
    assert rows["more"].iloc[0] == 1.0
    assert rows["more"].isna().sum() == len(rows) - 1
    assert np.isnan(rows["tow"].iloc[0])


def test_searches_have_one_line_with_their_pick(report):
    searches = report.searches
    assert searches["space"].tolist() == ["V0", "V1", "V4"]
    picks = [search.best for search in report.summary.searches]
    assert searches["best_objective"].tolist() == [pick.objective for pick in picks]
    assert json.loads(searches["best_plan"][0])[0]["subset"] == picks[0].plan[0].subset
    assert not {"best", "front", "expected_best"} & set(searches.columns)


def test_no_rows_and_no_searches_are_empty_frames_with_columns(report):
    summary = replace(report.summary, rows=(), searches=())
    empty = Report(summary, report.scores, report.trials)
    assert list(empty.rows.columns) == ["method", "unlearner", "source", "seed"]
    assert "best_plan" in empty.searches
    assert empty.rows.empty
    assert empty.searches.empty


@pytest.mark.parametrize("damage", ["missing", "table", "json", "format"])
def test_a_report_that_cannot_be_read_is_a_data_error(damage, tmp_path):
    folder = tmp_path / "report"
    shutil.copytree(DEMO, folder)
    match damage:
        case "missing":
            folder = tmp_path / "elsewhere"
        case "table":
            (folder / "trials.parquet").write_bytes(b"PAR1")
        case "json":
            (folder / "report.json").write_text("{")
        case "format":
            tree = json.loads((folder / "report.json").read_text())
            (folder / "report.json").write_text(json.dumps({**tree, "format": 2}))
    with pytest.raises(DataError, match="format" if damage == "format" else folder.name):
        Report.read(folder)


def test_keys_of_a_report_are_only_added():
    tree = json.loads((DEMO / "report.json").read_text())

    def contains(new: object, old: object) -> bool:
        if isinstance(old, dict):
            return all(key in new and contains(new[key], value) for key, value in old.items())
        if isinstance(old, list):
            return len(new) == len(old) and all(map(contains, new, old))
        return new == old

    assert contains(Summary.from_json(tree).to_json(), tree)
