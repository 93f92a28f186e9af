"""The terminal output of the commands."""

import json

import pytest

from rum_ray.cli.console import show
from rum_ray.report.sections import ladder
from rum_ray.results.schema import to_json

from .shapes import busy, demo

SCORED = {
    "scores": "out/digits/scores.parquet",
    "name": "memorization",
    "models": None,
    "precision": {"rule": "standard_error", "goal": 0.05, "value": 0.04321},
    "unknown": 0,
    "mean": 0.12345,
}


def test_a_list_has_one_line_per_item(capsys):
    show({"unlearned": ["out/seed0.safetensors", "out/seed1.safetensors"]})
    found = capsys.readouterr().out
    assert found == "unlearned: out/seed0.safetensors\nunlearned: out/seed1.safetensors\n"


def test_numbers_are_rounded_and_unknown_values_left_out(capsys):
    show(SCORED)
    assert capsys.readouterr().out.splitlines() == [
        "scores: out/digits/scores.parquet",
        "name: memorization",
        "precision: rule standard_error, goal 0.05, value 0.0432",
        "unknown: 0",
        "mean: 0.123",
    ]


@pytest.mark.parametrize("part", ["subsets", "rows"])
def test_subsets_and_methods_are_tables(capsys, part):
    summary = demo().summary
    entries = getattr(summary, part)
    extra = {"attack": "svm"} if part == "rows" else {}
    show({"scores": "scores.parquet", **extra, part: entries})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scores: scores.parquet"
    table = lines[1 + len(extra) :]
    # A title and four rules with the header between, and one line per entry.
    assert len(table) == len(entries) + 5
    if part == "subsets":
        for entry, line in zip(entries, table[4:], strict=False):
            assert entry.name in line
            assert str(entry.size) in line


def test_a_report_has_its_headline_and_a_line_per_rung(capsys):
    summary = busy().summary
    show({"answer": summary, "report": "out/digits/report.html"})
    lines = capsys.readouterr().out.splitlines()
    assert summary.ladder is not None
    for row in ladder.rungs(summary.ladder, summary.attack).texts()[1]:
        assert [line for line in lines if all(cell in line for cell in row)], row
    assert lines[-1] == "report: out/digits/report.html"
    assert ladder.finding(summary.ladder) in " ".join(" ".join(lines).split())


def test_searches_have_their_pick_and_the_next_command(capsys):
    searches = demo().summary.searches
    show({"searches": searches, "trials": "trials.parquet", "plan": "plan.yaml"})
    out = capsys.readouterr().out
    for search in searches:
        assert f"{search.best.validated:.3f}" in out
    assert "picked: " in out
    assert "--set plan=plan.yaml" in out


def test_typed_answers_are_json():
    assert json.dumps(to_json({"rows": demo().summary.rows, "attack": "svm"}), allow_nan=False)
