"""The wording of claims and of the bill, the same on the page, in Markdown and on the terminal."""

from dataclasses import replace

import pytest

from rum_ray.cli.console import show
from rum_ray.report import verdicts
from rum_ray.report.ranking import subject
from rum_ray.report.sections.headline import lead, numbers
from rum_ray.report.sections.ladder import finding, rungs
from rum_ray.report.sections.making import bill as bill_table
from rum_ray.report.sections.reliability import claims_table, reliability
from rum_ray.report.sections.result import headline, results
from rum_ray.report.text import label
from rum_ray.results import claims
from rum_ray.results.claims import Deciding
from rum_ray.results.schema import Bill, Claim, Ladder, RowName, Summary

from .shapes import ONLY, busy, by_label, changed, demo, told, with_rows

SCOPE = "for this forget set"


def base() -> Claim:
    claim = demo().summary.comparisons[0]
    return replace(claim, mean=0.03, low=0.01, high=0.05, p=0.004, p_holm=0.004, shown=True)


CLAIMS = {
    "shown": told(base(), "shown", against=(), by=()),
    ONLY: replace(told(base(), ONLY), shown=False),
    "not shown": told(
        replace(base(), low=-0.02, shown=False), "not shown", against=(), detectable=0.083
    ),
    "worse": told(replace(base(), mean=-0.03, low=-0.05, high=-0.01), "worse", against=()),
}


def summary_with(verdict: str) -> Summary:
    return changed(demo(), comparisons=(CLAIMS[verdict],)).summary


@pytest.mark.parametrize("verdict", CLAIMS)
def test_the_headline_has_the_verdict_and_its_scope(verdict, capsys):
    summary = summary_with(verdict)
    sentence = verdicts.headline(summary)
    assert verdict in sentence
    assert SCOPE in sentence
    assert "ToW \u2212 AUC gap" in sentence
    assert sentence in lead(summary)
    show({"answer": summary, "report": "report.html"})
    assert sentence in capsys.readouterr().out
    table = claims_table(summary.comparisons, summary.rows, "Claims", "")
    assert table.texts()[1][0][-1].startswith(verdict)
    assert SCOPE in table.caption


def test_what_contradicts_a_claim_is_named_in_its_sentence():
    summary = summary_with(ONLY)
    for text in (verdicts.headline(summary), numbers(summary)[-1].note):
        assert "example-level ToW and U-LiRA gap" in text
    header, rows = claims_table(summary.comparisons, summary.rows, "Claims", "").texts()
    told_ = dict(zip(header, rows[0], strict=True))
    assert told_["other metrics"] == "against: example-level ToW and U-LiRA gap"
    assert told_["example-level ToW"].startswith("\u22120.03")
    assert told_["verdict"] == ONLY


def test_a_claim_that_is_not_shown_has_its_power():
    assert "0.083 would have been found with a probability of 80 %" in verdicts.headline(
        summary_with("not shown")
    )


def test_a_claim_over_many_forget_sets_says_so():
    claim = replace(CLAIMS["shown"], repeats=5)
    summary = changed(demo(), comparisons=(claim,)).summary
    assert SCOPE not in verdicts.headline(summary)
    assert "over 5 forget sets" in verdicts.headline(summary)
    assert SCOPE not in claims_table((claim,), summary.rows, "Claims", "").caption


def test_a_plan_with_two_names_is_no_claim():
    def rename(row):
        if (row.method, row.source) != ("rum", "search"):
            return row
        return replace(row, also=(RowName("best_single", "salun", "search", 24),))

    summary = with_rows(demo(), rename).summary
    assert "is that of the best single unlearner" in lead(summary)
    assert numbers(summary)[-1].value == "the same"
    names = [row[0] for row in headline(summary.rows, "svm").texts()[1]]
    assert "RUM (search) = best single (SalUn)" in names


def test_a_rung_that_another_metric_contradicts_is_not_praised_alone():
    ladder = busy().summary.ladder
    claims = [
        told(c, ONLY) if (c.a, c.b) in (("V4", "V0"), ("V4", "V3")) else c for c in ladder.claims
    ]
    found = Ladder(ladder.rungs, tuple(claims))
    assert f"({ONLY})" in finding(found).partition(":")[0]
    assert "not by example-level ToW and U-LiRA gap" in finding(found)
    assert rungs(found, "svm").texts()[1][4][-1].endswith(ONLY)


BILL = Bill(90.0, 56.0, 5.0, 0.41, 151.41, 151.0, 0.41, 256)


def test_the_bill_stands_beside_the_headline(capsys):
    summary = changed(demo(), bill=BILL).summary
    sentence = verdicts.bill(BILL)
    assert "90.0 + search 56.0 + references 5.00 + plan 0.41 = 151.4 trainings" in sentence
    assert "from request 256 on" in sentence
    show({"answer": summary, "report": "report.html"})
    assert sentence in capsys.readouterr().out
    assert bill_table(BILL).texts()[1][-1][-1] == "256"
    never = replace(BILL, per_request=5.41, break_even=None)
    assert "never cheaper than retraining" in verdicts.bill(never)
    assert verdicts.bill(None) == ""


def test_variants_are_told_by_unlearner(capsys):
    summary = busy().summary
    sentence = verdicts.variants(summary)
    names = [name.removesuffix(" RUM^F") for name in by_label(busy()) if name.endswith("RUM^F")]
    assert all(f"{name} " in sentence for name in names)
    assert f"{names[0]} {ONLY}" in sentence
    show({"answer": summary, "report": "report.html"})
    assert sentence in capsys.readouterr().out
    assert verdicts.variants(demo().summary) == ""


def test_rows_that_were_not_tuned_alike_are_not_compared():
    summary = busy().summary
    first, *others = [row for row in summary.rows if row.method == "rum_f"]
    rows = [replace(row, untuned=True) if row is first else row for row in summary.rows]
    rule = Deciding("objective")
    assert len(claims.variants(rows, rule)) == len(claims.variants(summary.rows, rule)) - 1
    assert claims.unequal(rows) == [rows[summary.rows.index(first)]]
    changed_rows = replace(summary, rows=tuple(rows), variants=claims.variants(rows, rule))
    name = label(first).removesuffix(" RUM^F")
    assert f"not compared for {name}: one is untuned" in verdicts.variants(changed_rows)
    alike = [replace(row, untuned=True) for row in rows]
    assert len(claims.variants(alike, rule)) == len(others) + 1


def test_the_expected_value_is_that_of_the_fresh_seeds():
    summary = demo().summary
    assert f"{summary.searches[-1].best.validated:.3f}" in verdicts.expected(summary)
    assert verdicts.expected(changed(demo(), searches=()).summary) == ""


def test_page_and_markdown_have_verdict_bill_and_finalists(busy_folder):
    summary = busy().summary
    for name in ("report.html", "report.md"):
        text = (busy_folder / name).read_text().replace("\xa0", " ").replace("&#39;", "'")
        for sentence in (
            verdicts.headline(summary),
            verdicts.bill(summary.bill),
            ONLY,
            "2 finalists of V4; 1 dropped: fails on a fresh seed",
            "better than vanilla for this forget set: ",
            "22 trainings per search",
        ):
            assert sentence in text, (name, sentence)


def test_the_worst_seed_and_collapses_are_in_every_table_of_methods():
    def collapse(row):
        return replace(row, worst=0.123, collapsed=2, untuned=row.method == "vanilla")

    summary = with_rows(demo(), collapse).summary
    for table in (results(summary), headline(summary.rows, "svm")):
        header, rows = table.texts()
        assert {row[header.index("worst seed")] for row in rows} == {"0.123 (2 collapsed)"}
        marked = [row[0] for row in rows if ", untuned" in row[0]]
        assert len(marked) == len([row for row in summary.rows if row.method == "vanilla"])


def test_accuracies_on_r_and_t_are_read_against_the_second_floor():
    rows = busy().summary.rows
    (text,) = [t for t in reliability(busy().summary.scores, rows) if "in another order" in t]
    assert "RUM (search)" in text
    assert subject(rows) is by_label(busy())["RUM (search)"] or subject(rows).method == "rum"
    assert not [t for t in reliability(demo().summary.scores, demo().summary.rows) if "order" in t]
