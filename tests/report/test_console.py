"""What the verbs print for people."""

import json

import pytest

from rum_ray.cli.console import show

from .sample import sample

SCORED = {
    "scores": "out/digits/scores.parquet",
    "name": "memorization",
    "models": None,
    "precision": {"rule": "standard_error", "goal": 0.05, "value": 0.04321},
    "unknown": 0,
    "mean": 0.12345,
}


def test_a_list_is_a_line_each(capsys):
    show({"unlearned": ["out/seed0.safetensors", "out/seed1.safetensors"]})
    found = capsys.readouterr().out
    assert found == "unlearned: out/seed0.safetensors\nunlearned: out/seed1.safetensors\n"


def test_numbers_are_rounded_and_what_is_unknown_is_left_out(capsys):
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
    report = sample()[0]
    show({"scores": "scores.parquet", part: report[part]})
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "scores: scores.parquet"
    with pytest.raises(json.JSONDecodeError):
        json.loads("\n".join(lines))
    entries = report[part]
    # A title and four rules with the header between, and a line for each.
    assert len(lines) == len(entries) + 5
    if part == "subsets":
        for entry, line in zip(entries, lines[4:], strict=False):
            assert entry["name"] in line
            assert str(entry["size"]) in line
