"""The head of the page and the result: order, ties, costs, and the sentences of both."""

import re
from dataclasses import replace

import numpy as np
import pytest

from rum_ray.report.ranking import contestants, subject, tied
from rum_ray.report.sections.headline import conditions, lead, numbers
from rum_ray.report.sections.result import ABOVE, all_metrics, cap_note, finding, headline, results
from rum_ray.report.text import format_metric, label
from rum_ray.results.report import Report
from rum_ray.results.schema import Claim, Metric

from .shapes import (
    NASTY,
    busy,
    by_label,
    changed,
    demo,
    metric,
    one_seed,
    with_metrics,
    with_rows,
)


def with_cost(report: Report, cost: float) -> Report:
    """The report with another cost of RUM's searched plan."""
    return with_rows(
        report,
        lambda row: (
            with_metrics(row, {"cost": Metric(cost, 0.0, (cost,) * 10)})
            if label(row) == "RUM (search)"
            else row
        ),
    )


def test_the_headline_leads_from_the_references_to_the_worst():
    summary = demo().summary
    header, rows = headline(summary.rows, summary.attack, summary.searches).texts()
    assert len(rows) == len(summary.rows)
    assert {len(row) for row in rows} == {len(header)}
    names = [row[0] for row in rows]
    assert names[:3] == ["retrained", "retrained again", "SalUn shuffle"]
    assert names[-1] == "doing nothing"
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", rows[2][3])
    assert rows[names.index("RUM (search)")][4] == "47 %"


def test_a_cost_above_the_cap_is_marked_and_explained():
    report = demo()
    cap = report.summary.searches[0].max_cost
    assert cap_note(report.summary) == ""
    above = with_cost(report, cap + 0.01).summary
    assert cap_note(above)
    _, rows = results(above).texts()
    assert [row[0] for row in rows if row[-1].endswith(ABOVE)] == ["RUM (search), ≈ best"]
    assert cap_note(above) in results(above).caption
    at_cap = with_cost(report, float(np.mean([cap] * 3)) + 1e-12).summary
    assert cap_note(at_cap) == ""
    assert cap_note(changed(with_cost(report, cap + 0.01), searches=()).summary) == ""


def test_rows_that_differ_by_noise_are_tied():
    rows = demo().summary.rows
    first = contestants(rows)[0]
    names = [label(row) for row in tied(rows)]
    assert "RUM (search)" in names
    assert label(first) not in names
    assert "doing nothing" not in names
    best = by_label(demo())["RUM (search)"]
    values = np.array(best.metrics["objective"].values, dtype=float)
    twin = replace(best, source="file")
    shift = np.array([0.01 * (-1) ** i + 1e-4 for i in range(len(values))])
    twin = with_metrics(twin, {"objective": metric(values - shift)})
    assert tied([best, twin]) == [twin]
    assert subject([twin, *rows]) is not twin


def test_the_finding_counts_ties_and_seeds():
    assert "7 of the 17 others" in finding(demo().summary.rows, "svm")
    assert "1 seed" in finding(one_seed().summary.rows, "svm")
    assert not tied(one_seed().summary.rows)


def test_the_attack_of_the_study_is_the_one_in_the_headline():
    summary = changed(demo(), attack="auc").summary
    last = contestants(summary.rows)[-1]
    assert headline(summary.rows, "auc").rows[-1].cells[2].text == format_metric(
        last.metrics["auc_gap"]
    )
    assert "AUC in the report" in conditions(summary)


def test_conditions_name_budget_sampler_and_pick():
    report = demo()
    assert "24 trials per search, each at most 50 %" in conditions(report.summary)
    random = [replace(s, sampler="random", pick="cost<=0.2") for s in report.summary.searches]
    found = conditions(changed(report, searches=tuple(random)).summary)
    assert "per search at random" in found
    assert found.endswith("cost<=0.2")
    assert "no search" in conditions(changed(report, searches=()).summary)


@pytest.mark.parametrize(
    ("low", "high", "shown", "name", "value"),
    [
        (0.01, 0.05, True, "Better than the best single unlearner", "by 0.030"),
        (-0.05, -0.01, False, "Worse than the best single unlearner", "by 0.030"),
        (-0.01, 0.05, False, "Better than the best single unlearner", "not shown"),
        (0.0, 0.0, False, "Better than the best single unlearner", "the same"),
    ],
)
def test_the_margin_says_no_more_than_the_test(low, high, shown, name, value):
    mean = {(-0.05, -0.01): -0.03}.get((low, high), 0.03)
    claim = Claim(
        "rum (search)", "best_single salun", "objective", mean, low, high, 0.004, 0.004, shown
    )
    margin = numbers(changed(demo(), comparisons=(claim,)).summary)[-1]
    assert (margin.name, margin.value) == (name, value)


def test_the_lead_names_how_the_forget_set_was_chosen():
    report = demo()
    for pick, words in {"class": "a whole class", "ids": "as listed", "random": "random"}.items():
        forget = replace(report.summary.forget, pick=pick)
        assert words in lead(changed(report, forget=forget).summary)


def test_plans_by_other_references_are_not_the_subject():
    rows = busy().summary.rows
    plans = [row for row in rows if row.method == "rum"]
    names = {label(row) for row in plans}
    assert names == {"RUM (search)", "RUM (surrogate)", "RUM (pool)", "RUM (file)"}
    found = subject([*reversed(plans), *rows])
    assert found is not None
    assert label(found) == "RUM (search)"


def test_all_metrics_has_every_metric_of_every_row():
    rows = demo().summary.rows
    table = all_metrics(rows)
    names = {name.replace("_", " ") for row in rows for name in row.metrics}
    assert {column.title for column in table.columns[2:]} == names
    assert len(table.rows) == len(rows)
    origins = {row.cells[0].text: row.cells[1].text for row in table.rows}
    assert origins["RUM (search)"] == "search, 24 trials"
    assert origins["RUM (file)"] == "file"


def test_a_name_cannot_control_the_terminal(capsys):
    from rum_ray.cli.console import show

    def rename(row):
        return replace(row, unlearner=NASTY[3]) if row.method == "vanilla" else row

    show({"answer": with_rows(demo(), rename).summary, "report": "report.html"})
    assert "\x1b" not in capsys.readouterr().out
