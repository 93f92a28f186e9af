"""The ladder and the references: sentences, tables, figures."""

from dataclasses import replace

import pytest

from rum_ray.report.figures.ladder import ladder as draw_ladder
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import mean
from rum_ray.report.sections import ladder as section
from rum_ray.report.sections import references
from rum_ray.report.sections.ladder import climbed, control, curves, finding, rungs, subsets
from rum_ray.report.text import DASH, format_metric, format_number
from rum_ray.results.schema import Claim, Ladder, Metric, Regret, Rung

from .shapes import busy, by_label, changed, demo

METRIC = Metric(0.8, 0.01, (0.79, 0.8, 0.81))
SAME = {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def claim(a: str, b: str, mean: float, shown: bool) -> Claim:
    return Claim(a, b, "objective", mean, mean - 0.008, mean + 0.008, 0.03, 0.03, shown)


def climb(*steps: tuple[str, bool], whole: bool = True) -> Ladder:
    """A ladder of V0 and these rungs; each adds 0.01, shown or not."""
    names = ["V0", *(name for name, _ in steps)]
    claims = [claim(name, names[i], 0.01, shown) for i, (name, shown) in enumerate(steps)]
    if len(names) > 2:
        claims.append(claim(names[-1], "V0", 0.03, whole))
    return Ladder(tuple(Rung(n, n, 8, METRIC, METRIC, METRIC) for n in names), tuple(claims))


def busy_ladder() -> Ladder:
    found = busy().summary.ladder
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("ladder", "parts"),
    [
        (
            climb(("V1", True), ("V2", False), ("V3", False), ("V4", True)),
            ["V4 is worth 0.030 over V0", "V1 adds 0.010 and V4 adds 0.010", "for V2 and V3"],
        ),
        (climb(("V1", True), ("V4", True)), ["V1 adds 0.010 and V4 adds 0.010"]),
        (
            climb(("V1", False), ("V4", False), whole=False),
            ["V4 is not shown to be worth anything over V0", "for V1 and V4"],
        ),
        (climb(("V2", True), ("V4", False)), ["V2 adds 0.010", "no gain is shown for V4"]),
    ],
)
def test_the_worth_of_each_rung_is_given_and_what_is_not_shown(ladder, parts):
    assert [part for part in parts if part not in finding(ladder)] == []


def test_a_ladder_that_leads_down_has_negative_worth():
    ladder = climb(("V1", False), ("V4", False), whole=False)
    down = [replace(each, mean=-0.1, low=-0.15, high=-0.05) for each in ladder.claims]
    found = finding(replace(ladder, claims=(down[0], ladder.claims[1], down[2])))
    assert "V4 is worth \u22120.100 over V0" in found
    assert "V1 is worse than V0 by 0.100" in found


def test_two_rungs_are_one_claim_and_few_seeds_are_none():
    ladder = climb(("V4", True))
    assert finding(ladder) == "V4 is worth 0.010 over V0"
    untested = replace(ladder, claims=())
    assert finding(untested).startswith("3 seeds cannot show a difference")
    assert [row[-1] for row in rungs(untested, "svm").texts()[1]] == [DASH, DASH]


def test_the_worth_of_a_rung_is_the_difference_of_its_row_and_the_one_before():
    rows = {row.method: row for row in busy().summary.rows if row.source == "search"}
    methods = ["best_single", "refined", "ordered", "untuned", "rum"]
    table = rungs(busy_ladder(), "svm").texts()[1]
    assert [row[0][:2] for row in table] == ["V0", "V1", "V2", "V3", "V4", "sh"]
    assert [row[-1] for row in (table[0], table[5])] == [DASH, DASH]
    for row, above, below in zip(table[1:5], methods[1:], methods, strict=False):
        values = [mean(rows[name], "objective") or 0.0 for name in (above, below)]
        assert row[-1].startswith(f"{format_number(values[0] - values[1], sign=True)} ["), above
        assert row[1].startswith(format_number(values[0]))


def test_refined_subsets_are_praised_only_if_they_are_shown_to_be_better():
    ladder = busy_ladder()
    rest = [each for each in ladder.claims if each.b != "shuffle"]
    shown = claim("V1", "shuffle", 0.02, True)
    assert "worth 0.020" in subsets(replace(ladder, claims=(*rest, shown)))
    unclear = subsets(replace(ladder, claims=(*rest, replace(shown, low=-0.01, shown=False))))
    assert "not shown" in unclear
    assert "[\u22120.010, 0.028]" in unclear
    assert "not compared" in subsets(replace(ladder, rungs=ladder.rungs[:-1]))


def test_curves_are_those_of_the_searches_of_the_rungs():
    summary = busy().summary
    found = curves(summary, busy_ladder())
    assert list(found) == ["V0", "V1", "V2", "V3", "V4"]
    assert found["V4"] == list(summary.searches[4].expected_best)
    assert summary.searches[6].space == "V4"
    assert list(summary.searches[6].expected_best) != found["V4"]


@pytest.mark.parametrize("with_curves", [True, False])
def test_the_figure_names_every_rung_and_value(with_curves):
    ladder, summary = busy_ladder(), busy().summary
    one = Metric(0.8, None, (0.8,))
    shown = [replace(rung, objective=one) for rung in climbed(ladder)[:2]] + climbed(ladder)[2:]
    lines = curves(summary, ladder) if with_curves else {}
    figure = draw_ladder(shown, control(ladder), 0.95 if with_curves else None, lines, "J")
    left = figure.axes[0]
    names = [text.get_text() for text in left.get_xticklabels()]
    assert names[0] == "V0\none unlearner"
    assert [name[:2] for name in names] == ["V0", "V1", "V2", "V3", "V4", "sh"]
    told = {text.get_text() for text in left.texts}
    assert {format_number(rung.objective.mean) for rung in shown} <= told
    assert ("noise floor: retrained again" in told) == with_curves
    assert len(figure.axes) == 1 + with_curves


@pytest.mark.parametrize("rungs_", [0, 1])
def test_without_two_rungs_there_is_no_ladder(rungs_):
    ladder = climb(("V1", True))
    short = Ladder(ladder.rungs[:1], ()) if rungs_ else None
    assert section.section(changed(demo(), ladder=short), Gallery()) is None


def test_page_and_markdown_have_the_same_findings(busy_folder):
    summary = busy().summary
    for name in ("report.html", "report.md"):
        text = (busy_folder / name).read_text().replace("\xa0", " ").replace("&#39;", "'")
        for sentence in (
            finding(busy_ladder()),
            subsets(busy_ladder()),
            references.finding(summary.references),
            "V4 better than V0",
            "pool models, for each example those trained without it",
        ):
            assert sentence in text, name


@pytest.mark.parametrize(
    ("regret", "words", "p"),
    [
        (Regret(0.02, 0.01, 0.03, 0.004), "loses 0.020 [0.010, 0.030]", "0.004"),
        (Regret(0.02, -0.01, 0.05, 0.2), "is shown: 0.020 [\u22120.010, 0.050]", "0.200"),
    ],
)
def test_the_loss_of_the_surrogate_has_its_interval(regret, words, p):
    oracle, surrogate, pool = busy().summary.references
    entries = (oracle, replace(surrogate, regret=regret), pool)
    assert words in references.finding(entries)
    cells = references.references(entries, "svm").texts()[1][1]
    assert cells[5] == "+0.020"
    assert cells[6] in words
    assert cells[7] == p


def test_a_plan_that_two_searches_found_is_the_same():
    oracle, surrogate, pool = busy().summary.references
    entries = (oracle, replace(surrogate, regret=Regret(**SAME)), pool)
    assert references.references(entries, "svm").texts()[1][1][-3:] == [DASH, DASH, "the same plan"]
    assert references.finding(entries).endswith("is the oracle's plan")
    ladder = busy_ladder()
    same = replace(ladder.claims[0], **SAME, p_holm=1.0, shown=False)
    ladder = replace(ladder, claims=(same, *ladder.claims[1:]))
    assert [row[-1] for row in rungs(ladder, "svm").texts()[1][:2]] == [DASH, "the same plan"]
    assert "V1 found the plan of V0" in finding(ladder)


def test_without_a_surrogate_the_oracle_s_plan_is_the_finding():
    oracle, _, pool = busy().summary.references
    objective = by_label(busy())["RUM (search)"].metrics["objective"]
    assert format_metric(objective) in references.finding((oracle, pool))
    table = references.references((oracle, pool), "svm").texts()[1]
    assert [row[0] for row in table] == ["oracle, main", "pool"]
    assert "unknown" in references.finding((pool,))
