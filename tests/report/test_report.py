"""The files of a report: whole, equal for equal inputs, and true to what they were made from."""

import copy
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from rum_ray.report import facts, markdown
from rum_ray.report.drawing import LIGHT
from rum_ray.report.figure_search import alike, choices, freest_search, progress
from rum_ray.report.files import complete, write
from rum_ray.report.findings import conditions
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import contestants, subject, tied
from rum_ray.report.tables import HEADLINE_COLUMNS, cap_note, headline, results
from rum_ray.report.text import count, duration, interval, label, number, percent, share

from .conftest import NASTY
from .sample import busy_sample, sample

FILES = ["report.html", "report.json", "report.md", "scores.parquet", "trials.parquet"]


def _cells(markdown: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text as lists of rows of cells."""
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("| ")]
    split = re.compile(r"(?<!\\)\|")
    return [[split.split(line)[1:-1] for line in block] for block in blocks]


def test_the_folder_holds_the_files_and_nothing_else(grey):
    assert sorted(path.name for path in grey.iterdir()) == FILES
    assert (grey / "report.html").stat().st_size < 3_000_000


def test_json_is_what_was_given(grey):
    report, scores, trials, _ = sample()
    assert json.loads((grey / "report.json").read_text()) == report
    pd.testing.assert_frame_equal(pd.read_parquet(grey / "scores.parquet"), scores)
    pd.testing.assert_frame_equal(pd.read_parquet(grey / "trials.parquet"), trials)


def test_equal_inputs_give_equal_bytes(grey, tmp_path):
    write(tmp_path, *sample())
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (grey / name).read_bytes(), name


def test_numpy_and_what_is_not_finite_can_be_written(tmp_path):
    report, scores, trials, gallery = sample()
    report["scores"]["split_half"] = np.float64(0.5)
    report["subsets"][0]["entanglement_score"] = {"mean": math.inf, "ci95": None, "values": ()}
    write(tmp_path, report, scores, trials, gallery)
    back = json.loads((tmp_path / "report.json").read_text())
    assert back["scores"]["split_half"] == 0.5
    assert back["subsets"][0]["entanglement_score"] == {"mean": None, "ci95": None, "values": []}


def test_the_headline_goes_from_the_floor_to_the_worst():
    report = sample()[0]
    table = headline(report)
    assert len(table) == len(report["rows"])
    assert len(HEADLINE_COLUMNS) == len(table[0])
    assert [row.method for row in table[:3]] == ["retrained", "retrained again", "RUM (search)"]
    assert table[-1].method == "doing nothing"
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", table[2].objective)
    assert table[2].cost == "21 %"


def test_what_costs_more_than_the_cap_is_marked():
    report = sample()[0]
    cost = {row["method"]: row["metrics"]["cost"] for row in report["rows"]}
    cost["rum"]["mean"] = report["searches"][0]["max_cost"] + 0.01
    marked = [row for row in headline(report) if row.cost.endswith("%, above the cap")]
    over = [row for row in report["rows"] if row["metrics"]["cost"]["mean"] > 0.5]
    assert 1 <= len(marked) == len(over) - 2
    assert not {"retrained", "retrained again"} & {row.method for row in marked}
    assert [row.cost for row in results(report)] == [row.cost for row in headline(report)]
    row = next(row for row in report["rows"] if row["method"] == "rum")
    row["metrics"]["cost"]["mean"] = float(np.mean([0.2] * 3))
    report["searches"][0]["max_cost"] = 0.2
    assert row["metrics"]["cost"]["mean"] > 0.2
    assert [each.cost for each in headline(report) if each.method == label(row)] == ["20 %"]
    report["searches"] = []
    assert not any("above" in row.cost for row in headline(report))


def test_what_above_the_cap_means_is_said_where_a_row_is(grey):
    report, _, trials, _ = sample()
    assert cap_note(results(report)) == ""
    assert not any(
        "Above the cap" in (grey / f"report.{kind}").read_text() for kind in ("html", "md")
    )
    row = next(row for row in report["rows"] if row["method"] == "rum")
    row["metrics"]["cost"]["mean"] = report["searches"][0]["max_cost"] + 0.01
    assert cap_note(results(report)).startswith("Above the cap: it costs more than")
    assert cap_note(results(report)) in markdown.render(complete(report), trials)


def test_markdown_tables_are_tables(grey):
    tables = _cells((grey / "report.md").read_text())
    assert len(tables) == 13
    for table in tables:
        assert len({len(row) for row in table}) == 1
        assert all(re.fullmatch(" (:--|--:) ", cell) for cell in table[1])
    results = tables[1]
    assert results[4][0].strip() == "RUM (search), best"
    assert len(results) == 2 + 20


def test_names_stay_text_in_markdown_and_on_the_terminal(nasty):
    text = (nasty / "report.md").read_text()
    assert "<script" not in text.split("Configuration:")[0]
    assert "\x1b" not in text
    assert len({len(row) for row in _cells(text)[1]}) == 1
    assert text.rstrip().endswith(
        "```yaml\nname: <script>alert(1)</script>\n# ```\n<b>bold</b>\n````"[-30:]
    )
    report = sample()[0]
    report["rows"][3]["unlearner"] = NASTY[3]
    assert not any("\x1b" in row.method for row in headline(report))


NO_SEARCH = {"searches": [], "comparisons": [], "subsets": [], "stages": [], "costs": {}}
SCORES_ONLY = {"rows": [], "comparisons": [], "searches": [], "warnings": [], "selected_on": []}


@pytest.mark.parametrize("missing", [NO_SEARCH, SCORES_ONLY, {}], ids=["search", "rows", "all"])
def test_what_is_missing_is_said_to_be_missing(missing, tmp_path):
    report, scores, trials, gallery = sample()
    if missing:
        report |= missing
    else:
        report = {"format": 1, "status": "partial"}
        scores, gallery = pd.DataFrame({"id": [0]}), Gallery()
    if not report.get("searches"):
        trials = pd.DataFrame()
    write(tmp_path, report, scores, trials, gallery)
    html = (tmp_path / "report.html").read_text()
    for name, sentence in {
        "searches": "No search ran",
        "rows": "No method has been measured yet",
        "stages": "No stage times were kept",
        "comparisons": "No two methods were compared",
    }.items():
        assert (sentence in html) == (not report.get(name)), name
    assert ("Partial." in html) == (report["status"] == "partial")


def test_proxies_have_their_intervals_and_what_they_would_have_split_alike(grey):
    text = (grey / "report.md").read_text()
    assert "| confidence | 0.760 ± 0.021 | [0.710, 0.800] | 74 ± 2.1 % | 3 |" in text
    assert "| curvature | 0.730 | [0.680, 0.770] | 73 % | 1 |" in text
    page = (grey / "report.html").read_text()
    assert "Confidence would have put 74 ± 2.1\u00a0% of the forget set in the same subset." in page


def test_what_is_known_of_a_proxy_is_shown_without_the_rest(tmp_path):
    report, scores, trials, gallery = sample()
    report["scores"]["proxies"] = {
        "confidence": {"spearman": 0.7},
        "curvature": {"spearman": None, "low": None, "high": None, "same_subset": None},
    }
    write(tmp_path, report, scores, trials, gallery)
    text = (tmp_path / "report.md").read_text()
    assert "| confidence | 0.700 | \u2013 | \u2013 | 0 |" in text
    assert "| curvature | \u2013 | \u2013 | \u2013 | 0 |" in text


@pytest.mark.parametrize(
    ("half", "changed", "sentences"),
    [
        (0.9, 0.1, ["0.900, which reaches the goal of 0.9", "which reaches the goal of at most"]),
        (0.8, 0.2, ["0.800, which misses the goal of 0.9", "misses the goal of at most 10 %"]),
    ],
)
def test_goals_of_the_scores_are_said_to_be_reached_or_missed(half, changed, sentences):
    report, _, trials, _ = sample()
    report["scores"] |= {"split_half": half, "changed_share": changed}
    text = markdown.render(report, trials)
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_one_seed_has_no_intervals_and_no_ties():
    report, _, trials, _ = sample()
    for row in report["rows"]:
        row["seeds"] = [0]
        for metric in row["metrics"].values():
            metric |= {"ci95": None, "values": metric["values"][:1]}
    report["comparisons"] = []
    assert "1 seed cannot tell methods apart" in markdown.render(report, trials)
    assert not tied(report["rows"])


def test_the_attack_that_counts_is_the_one_that_is_shown():
    report, _, trials, _ = sample()
    report["attack"] = "auc"
    gap = interval(report["rows"][2]["metrics"]["auc_gap"])
    assert headline(report)[-1].mia_gap == gap
    assert "AUC in the report" in markdown.render(report, trials)


def test_a_claim_that_is_not_shown_is_said_to_be_not_shown(busy):
    page = (busy / "report.html").read_text()
    assert '<dd class="value">not shown</dd>' in page
    assert "+0.020 [\u22120.010, 0.050]" in page


def test_comparisons_get_the_labels_of_their_rows():
    report = sample()[0]
    raw = {"RUM (search)": "rum (search)", "best single (SalUn)": "best_single salun"}
    claim = report["comparisons"][0]
    claim |= {"a": raw[claim["a"]], "b": raw[claim["b"]]}
    first = complete(report)["comparisons"][0]
    assert [first["a"], first["b"]] == list(raw)
    assert claim["b"] == "best_single salun"


def test_rows_that_differ_by_noise_are_tied():
    rows = sample()[0]["rows"]
    assert not tied(rows)
    best = contestants(rows)[0]
    twin = copy.deepcopy(best) | {"source": "file"}
    values = twin["metrics"]["objective"]["values"]
    shifted = [v - 0.01 * (-1) ** i - 1e-4 for i, v in enumerate(values)]
    twin["metrics"]["objective"] |= {"values": shifted, "mean": float(np.mean(shifted))}
    assert tied([*rows, twin]) == [twin]
    assert subject([twin, *rows]) is best


def test_every_space_is_named_wherever_it_stands():
    report, _, trials, _ = busy_sample()
    trials = alike(trials)
    names = [row[0] for row in facts.searches(report).rows]
    assert names[5:] == [
        f"{names[4]}, by the {known}" for known in ("surrogate on its matched set", "pool")
    ]
    assert names[0] == "V0: one unlearner"
    assert names[2:4] == ["V2: one, and the order", "V3: one a subset, untuned"]
    assert freest_search(trials[trials["search"] != "V4"]) == "V3"
    ends = [text.get_text() for text in progress(trials, LIGHT).axes[0].texts]
    assert set(names[:5]) <= set(ends)


def test_a_random_search_says_so():
    report, _, _, _ = sample()
    assert "24 trials a search, each at most" in conditions(report)
    for search in report["searches"]:
        search["sampler"] = "random"
    assert "24 trials a search at random, each at most" in conditions(report)


def test_panels_of_choices_come_in_the_order_of_the_subsets():
    steps = [{"subset": name, "unlearner": {"name": "salun"}} for name in ("high", "low", "mid")]
    trial = {"search": "V4", "trial": 0, "status": "complete", "objective": 0.5}
    trials = pd.DataFrame([{**trial, "plan": json.dumps(steps)}])
    assert list(choices(trials, "V4", ["low", "mid", "high"])) == ["low", "mid", "high"]
    assert list(choices(trials, "V4", ["low"])) == ["low", "high", "mid"]


def test_labels_name_a_row_in_one_way():
    assert label({"method": "rum_f", "unlearner": "neggrad+"}) == "NegGrad+ RUM^F"
    assert label({"method": "vanilla", "unlearner": "my.module:Thing"}) == "my.module:Thing vanilla"
    assert label({"method": "rum", "source": "file"}) == "RUM (file)"
    assert label({"method": "rum", "source": "surrogate"}) == "RUM (surrogate)"
    assert label({"method": "untuned"}) == "RUM, untuned"
    assert label({"method": "shuffled"}) == "best single, shuffled"
    assert label({"method": "retrained"}) == "retrained"


def test_numbers_are_written_one_way():
    assert number(-0.0004) == "0.000"
    assert number(-0.25, 2, sign=True) == "\u22120.25"
    assert interval({"mean": 0.9, "ci95": 0.014}) == "0.900 ± 0.014"
    assert interval({"mean": None, "reason": "no V"}) == "\u2013 (no V)"
    assert interval(None) == "\u2013"
    assert [percent(value) for value in (0, 0.004, 0.0996, 0.212)] == [
        "0 %",
        "0.4 %",
        "10 %",
        "21 %",
    ]
    assert share({"mean": 0.2, "ci95": 0.011}) == "20 ± 1.1 %"
    assert [duration(s) for s in (0.31, 59.7, 372, 7260)] == [
        "0.3 s",
        "1 min 0 s",
        "6 min 12 s",
        "2 h 1 min",
    ]
    assert [count(1, "seed"), count(1200, "seed")] == ["1 seed", "1,200 seeds"]
