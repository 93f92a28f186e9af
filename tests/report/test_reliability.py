"""The reliability of scores, and the table of claims."""

from dataclasses import replace

import pytest

from rum_ray.report.blocks import Range
from rum_ray.report.sections.reliability import claims_finding, claims_table, reliability
from rum_ray.report.text import DASH
from rum_ray.results.schema import PrecisionSummary

from .shapes import demo


@pytest.mark.parametrize(
    ("half", "changed", "words"), [(0.9, 0.1, "reaches"), (0.8, 0.2, "misses")]
)
def test_goals_of_the_scores_are_reached_or_missed(half, changed, words):
    scores = replace(demo().summary.scores, split_half=half, changed_share=changed)
    first, *_ = [text for text in reliability(scores, ()) if f"{half:.3f}" in text]
    second, *_ = [text for text in reliability(scores, ()) if f"{100 * changed:.0f} %" in text]
    assert f"which {words} the goal" in first
    assert f"which {words} the goal" in second


@pytest.mark.parametrize(("reached", "words"), [(True, "reach it"), (False, "miss it")])
def test_a_requested_precision_is_reached_or_missed(reached, words):
    asked = PrecisionSummary("standard_error", 0.01, 0.0123, 200, reached)
    scores = replace(demo().summary.scores, precision=asked, models=64)
    (text,) = [text for text in reliability(scores, ()) if "standard error is" in text]
    assert words in text
    assert all(part in text for part in ("0.01", "64 models", "0.012"))


def test_unknown_scores_leave_only_the_limits_of_the_study():
    nothing = dict.fromkeys(
        ("split_half", "changed_share", "standard_error", "auc_flipped", "precision")
    )
    assert len(reliability(replace(demo().summary.scores, **nothing), ())) == 1


def test_a_claim_has_its_interval_and_its_verdict():
    summary = demo().summary
    first = summary.comparisons[0]
    same = replace(first, mean=0.0, low=0.0, high=0.0, p=1.0, p_holm=1.0)
    worse = replace(first, mean=-0.1, low=-0.15, high=-0.05, p_holm=0.004)
    better = replace(first, mean=0.1, low=0.05, high=0.15, p_holm=0.004, shown=True)
    table = claims_table((first, same, worse, better), summary.rows, "Claims", "")
    verdicts = [row.cells[-1].text for row in table.rows]
    assert verdicts == ["not shown", "the same", "worse", "shown"]
    texts = table.texts()[1]
    assert texts[0][0] == "RUM (search) better than best single (SalUn)"
    assert texts[1][1:5] == [DASH] * 4
    assert DASH not in texts[0]
    assert [row.style for row in table.rows] == ["", "", "", "shown"]
    drawn = table.rows[2].cells[3].drawing
    assert drawn == Range(-0.15, -0.1, -0.05, -0.15, 0.15)
    assert claims_finding((first, better)) == "1 of 2 claims is shown"
