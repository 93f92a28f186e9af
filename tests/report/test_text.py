"""The wording of numbers and names."""

import math

import pytest

from rum_ray.report.sections import attacks, headline, references, repeats, result
from rum_ray.report.text import (
    DASH,
    MINUS,
    format_count,
    format_duration,
    format_interval,
    format_metric,
    format_number,
    format_p,
    format_percent,
    format_share,
    label,
    labelled,
    objective_title,
    printable,
    unlearner_title,
)
from rum_ray.results.schema import Metric, Row
from rum_ray.unlearning import UNLEARNERS

from .shapes import NASTY, changed, demo


def row(method: str, unlearner: str | None = None, source: str | None = None) -> Row:
    return Row(method, unlearner, source, None, (), (0,), {}, {})


def test_numbers_have_one_form():
    assert format_number(-0.0004) == "0.000"
    assert format_number(-0.25, 2, sign=True) == f"{MINUS}0.25"
    assert format_metric(Metric(0.9, 0.014)) == "0.900 ± 0.014"
    assert format_metric(Metric(0.9, 1e-12)) == "0.900"
    assert format_metric(Metric.missing("no V")) == f"{DASH} (no V)"
    assert format_metric(None) == DASH
    percents = [format_percent(value) for value in (0, 0.004, 0.0996, 0.212)]
    assert percents == ["0 %", "0.4 %", "10 %", "21 %"]
    assert format_share(Metric(0.2, 0.011)) == "20 ± 1.1 %"
    assert format_share(Metric(0.2, 0.0001)) == "20 %"
    times = [format_duration(seconds) for seconds in (0.31, 59.7, 372, 7260)]
    assert times == ["0.3 s", "1 min 0 s", "6 min 12 s", "2 h 1 min"]
    assert [format_count(1, "seed"), format_count(1200, "seed")] == ["1 seed", "1,200 seeds"]
    assert [format_p(0.0001), format_p(0.25)] == ["< 0.001", "0.250"]
    assert format_interval(-0.1, 0.2) == f"[{MINUS}0.100, 0.200]"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_unknown_number_is_a_dash(value):
    for write in (format_number, format_percent, format_p, format_count, format_duration):
        assert write(value) == DASH
    assert format_metric(Metric(value)) == format_share(Metric(value)) == DASH
    assert format_interval(value, 0.5) == DASH


def test_a_row_has_one_label():
    assert label(row("rum_f", "neggrad+")) == "NegGrad+ RUM^F"
    assert label(row("vanilla", "my.module:Thing")) == "my.module:Thing vanilla"
    assert label(row("rum", source="file")) == "RUM (file)"
    assert label(row("rum", source="surrogate")) == "RUM (surrogate)"
    assert label(row("untuned")) == "RUM, untuned"
    assert label(row("shuffled", "salun")) == "best single, shuffled"
    assert label(row("retrained")) == "retrained"


def test_claims_get_the_labels_of_their_rows():
    summary = demo().summary
    first = summary.comparisons[0]
    assert (first.a, first.b) == ("rum (search)", "best_single salun")
    found = labelled(summary.comparisons, summary.rows)[0]
    assert (found.a, found.b) == ("RUM (search)", "best single (SalUn)")


def test_every_unlearner_has_a_title():
    assert all(unlearner_title(name) for name in UNLEARNERS)
    assert unlearner_title("scrub") == "SCRUB"
    assert unlearner_title("my.module:Thing") == "my.module:Thing"
    assert unlearner_title(None) == DASH


def test_control_characters_are_removed_everywhere():
    summary = changed(demo(), warnings=NASTY).summary
    assert printable(summary).warnings[3] == "red"
    assert printable(demo().summary) == demo().summary


@pytest.mark.parametrize(("attack", "ours"), [("svm", "MIA"), ("auc", "AUC")])
def test_every_sentence_names_the_gap_of_the_attack_of_the_report(attack, ours):
    """J is ToW less the gap of one attack; no other gap is named for its values."""
    summary = changed(demo(), attack=attack).summary
    objective = f"ToW {MINUS} {ours} gap"
    assert objective_title(attack) == objective
    assert f"In {objective} it" in headline.lead(summary)
    assert headline.numbers(summary)[0].name == objective
    assert f"has the best {objective}," in result.finding(summary.rows, attack)
    assert objective in references.references(summary.references, attack).texts()[0]
    assert f"in {objective}" in repeats.finding([0.1, 0.2], objective)
    assert f" {objective} " in attacks.finding(summary.rows, attacks.columns(summary), attack)
