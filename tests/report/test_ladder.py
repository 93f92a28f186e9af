"""The ladder, what the search knew, and the Pareto front: sentences, tables, and their absence."""

import copy
import json

import pandas as pd
import pytest

from rum_ray.cli.console import show
from rum_ray.report import facts, findings_search, ladder, markdown
from rum_ray.report.drawing import DARK
from rum_ray.report.figure_ladder import ladder as drawn
from rum_ray.report.figure_search import alike, freest_search, front, hues
from rum_ray.report.files import complete, write
from rum_ray.report.findings import conditions, numbers
from rum_ray.report.ranking import mean, subject
from rum_ray.report.text import DASH, Json, label, number, percent

from .sample import busy_sample, sample


def climb(*steps: tuple[str, bool], whole: bool = True) -> Json:
    """A report with a ladder of V0 and these rungs; each is worth 0.01, and shown or not."""
    names = ["V0", *(name for name, _ in steps)]
    metric = {"mean": 0.8, "ci95": 0.01, "values": [0.79, 0.8, 0.81]}
    rungs = [
        {"space": name, "method": name, "trials": 8, "objective": metric, "tow": metric}
        | {"cost": metric}
        for name in names
    ]
    between = {"mean": 0.01, "low": 0.002, "high": 0.018, "p_holm": 0.03}
    claims = [
        {"a": name, "b": names[i], "shown": shown, **between}
        for i, (name, shown) in enumerate(steps)
    ]
    ends = {"a": names[-1], "b": "V0", "shown": whole, "mean": 0.03, "low": 0.01, "high": 0.05}
    ends["p_holm"] = 0.01
    return {"ladder": {"rungs": rungs, "claims": [*claims[:1], ends, *claims[1:]][-len(names) :]}}


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            climb(("V1", True), ("V2", False), ("V3", False), ("V4", True)),
            "V4 is worth 0.030 over V0: V1 adds 0.010 and V4 adds 0.010; what V2 and V3 add is "
            "not shown",
        ),
        (
            climb(("V1", True), ("V4", True)),
            "V4 is worth 0.030 over V0: V1 adds 0.010 and V4 adds 0.010",
        ),
        (
            climb(("V1", False), ("V4", False), whole=False),
            "V4 is not shown to be worth anything over V0: what V1 and V4 add is not shown",
        ),
        (
            climb(("V2", True), ("V4", False)),
            "V4 is worth 0.030 over V0: V2 adds 0.010; what V4 adds is not shown",
        ),
    ],
)
def test_what_each_rung_is_worth_is_said_and_what_is_not_shown(report, sentence):
    assert ladder.finding(report) == sentence


def test_a_ladder_that_leads_down_is_worth_less_than_nothing():
    report = climb(("V1", False), ("V4", False), whole=False)
    down = {"mean": -0.1, "low": -0.15, "high": -0.05, "p_holm": 0.004}
    for claim in report["ladder"]["claims"][:2]:
        claim.update(down)
    assert ladder.finding(report) == (
        "V4 is worth \u22120.100 over V0: V1 is worse than V0 by 0.100; what V4 adds is not shown"
    )
    report = {**busy_sample()[0], "comparisons": [{**report["ladder"]["claims"][0], "p": 0.002}]}
    assert facts.claims(report["comparisons"]).rows[0][-1] == "worse"
    margin = numbers(report)[-1]
    assert (margin.name, margin.value) == ("Worse than V0", "by 0.100")


def test_two_rungs_are_one_claim_and_few_seeds_are_none():
    report = climb(("V4", True))
    report["ladder"]["claims"] = report["ladder"]["claims"][:1]
    assert ladder.finding(report) == "V4 is worth 0.010 over V0"
    report["ladder"]["claims"] = []
    assert ladder.finding(report) == "3 seeds cannot tell the rungs of the ladder apart"
    assert [row[-1] for row in ladder.rungs(report).rows] == [DASH, DASH]


def test_a_rung_is_worth_the_difference_of_its_row_and_the_one_before():
    report = busy_sample()[0]
    rows = {row["method"]: row for row in report["rows"] if row.get("source") == "search"}
    methods = ["best_single", "refined", "ordered", "untuned", "rum"]
    table = ladder.rungs(report).rows
    assert [row[0][:2] for row in table] == ["V0", "V1", "V2", "V3", "V4", "sh"]
    assert [row[-1] for row in (table[0], table[5])] == [DASH, DASH]
    for row, above, below in zip(table[1:5], methods[1:], methods, strict=False):
        worth = mean(rows[above], "objective") - mean(rows[below], "objective")
        assert row[-1].startswith(f"{number(worth, sign=True)} ["), above
        assert row[1].startswith(number(mean(rows[above], "objective")))
    gain = mean(rows["refined"], "objective") - mean(rows["shuffled"], "objective")
    assert ladder.subsets(report).startswith(f"Refined subsets are worth {number(gain)} over rand")


def test_refined_subsets_that_are_not_shown_to_be_better_are_not_praised():
    report = busy_sample()[0]
    claim = next(each for each in ladder.claims(report) if each["b"] == "shuffle")
    claim |= {"shown": False, "low": -0.01, "high": 0.02}
    told = (
        "Refined subsets are not shown to be worth anything over random ones: [\u22120.010, 0.020]"
    )
    assert ladder.subsets(report) == told
    report["ladder"]["rungs"].pop()
    assert ladder.subsets(report) == "Refined subsets were not compared with random ones"


def test_curves_are_those_of_the_searches_that_the_rungs_come_from():
    report = busy_sample()[0]
    curves = ladder.curves(report)
    assert list(curves) == ["V0", "V1", "V2", "V3", "V4"]
    assert curves["V4"] == report["searches"][4]["expected_best"]
    assert report["searches"][6]["space"] == "V4"
    assert report["searches"][6]["expected_best"] != curves["V4"]


@pytest.mark.parametrize("with_curves", [True, False])
def test_the_picture_names_every_rung_and_value(with_curves):
    report = busy_sample()[0]
    rungs, control = ladder.climbed(report), ladder.control(report)
    for rung in rungs[:2]:
        rung["objective"] = {"mean": 0.8, "ci95": None, "values": [0.8]}
    curves = ladder.curves(report) if with_curves else {}
    figure = drawn(rungs, control, 0.95 if with_curves else None, curves, DARK)
    left = figure.axes[0]
    names = [text.get_text() for text in left.get_xticklabels()]
    assert names[0] == "V0\none unlearner"
    assert [name[:2] for name in names] == ["V0", "V1", "V2", "V3", "V4", "sh"]
    told = {text.get_text() for text in left.texts}
    assert {number(rung["objective"]["mean"]) for rung in (*rungs, control)} <= told
    assert ("noise floor: retrained again" in told) == with_curves
    assert len(figure.axes) == 1 + with_curves


ONE_RUNG = {"rungs": climb(("V1", True))["ladder"]["rungs"][:1], "claims": []}


@pytest.mark.parametrize("absent", [None, ONE_RUNG], ids=["null", "one rung"])
def test_what_was_not_asked_for_leaves_no_trace(absent, tmp_path):
    report, scores, trials, gallery = sample()
    report["ladder"] = absent
    write(tmp_path, report, scores, trials, gallery)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "ladder" not in text.lower(), name
        assert "What the search was allowed to know" not in text, name


def test_page_and_markdown_say_the_same_of_ladder_and_references(busy):
    report = busy_sample()[0]
    for name in ("report.html", "report.md"):
        text = (busy / name).read_text().replace("\xa0", " ").replace("&#39;", "'")
        for sentence in (
            ladder.finding(report),
            ladder.subsets(report),
            findings_search.references(report),
            findings_search.front(report["searches"][4]),
            "V4 better than V0",
            "pool models, for each example those that left it out",
        ):
            assert sentence in text, name
    page = (busy / "report.html").read_text()
    assert '<a href="#ladder">' in page
    assert '<a href="#references">' in page


def test_the_terminal_has_a_line_for_each_rung(capsys):
    report = busy_sample()[0]
    show({"answer": report, "report": "out/digits/report.html"})
    lines = capsys.readouterr().out.splitlines()
    for row in ladder.rungs(report).rows:
        assert [line for line in lines if all(cell in line for cell in row)], row
    assert lines[-1] == "report: out/digits/report.html"
    told = " ".join(" ".join(lines).split())
    assert ladder.finding(report) in told


def test_a_space_has_one_colour_in_every_figure():
    spaces = ["V0", "V1", "V2", "V3", "V4"]
    colors = hues(spaces, DARK)
    assert colors["V4"] == DARK.accent
    assert len(set(colors.values())) == 5
    assert hues([*spaces[:2], "V4"], DARK).items() <= colors.items()


def test_the_front_is_that_of_the_freest_search_by_its_trials():
    report, _, trials, _ = busy_sample()
    search = findings_search.freest(report)
    assert search is not None
    assert (search["name"], search["reference"]) == ("V4", "oracle")
    edge = front(trials[trials["search"] == "V4"])
    table = facts.front(search)
    numbers = [str(trial) for trial in edge["trial"]]
    assert [row[0] for row in table.rows] == [*numbers[:-1], f"{numbers[-1]}, picked"]
    assert [row[1] for row in table.rows] == [percent(cost) for cost in edge["cost"]]
    assert [row[2] for row in table.rows] == [number(value) for value in edge["objective"]]
    plans = [json.loads(plan) for plan in edge["plan"]]
    assert [row[3] for row in table.rows] == [facts.plan(plan) for plan in plans]


def test_the_best_trial_and_the_plan_that_was_picked_are_told_apart():
    report, _, trials, _ = busy_sample()
    judged, (first, *_, search) = alike(trials), findings_search.main(report)
    best = number(search["best"]["objective"])
    assert findings_search.progress(report, judged).endswith(f"with {best}; its plan was picked")
    search["best"] = first["best"]
    picked = number(first["best"]["objective"])
    end = f"with {best}; the plan that was picked is another one, of V4, with {picked}"
    assert findings_search.progress(report, judged).endswith(end)
    assert not any("picked" in row[0] for row in facts.front(search).rows)


def test_page_and_markdown_say_which_plan_is_the_report_s(busy):
    for name in ("report.html", "report.md"):
        text = (busy / name).read_text()
        for sentence in (
            "RUM (search), the plan that was picked: 3 steps",
            "That of V4 is the plan of this report.",
            "about the matched set: examples that stay",
        ):
            assert sentence in text, name
    report = sample()[0]
    report["rows"] = [row for row in report["rows"] if row["method"] != "rum"]
    assert "picked" not in findings_search.plan(report)


def test_a_front_of_one_trial_is_said_to_be_that():
    search = {"front": [{"trial": 3, "objective": 0.9, "cost": 0.2, "plan": []}]}
    told = "One trial is the best and the cheapest, for 20 % of a retraining"
    assert findings_search.front(search) == told
    assert findings_search.freest({"searches": []}) is None


def test_a_pick_by_cost_is_told():
    report = sample()[0]
    assert "picked" not in conditions(report)
    for search in report["searches"]:
        search["pick"] = "cost<=0.2"
    assert conditions(report).endswith("picked among trials of cost<=0.2")
    text = markdown.render(complete(report), sample()[2])
    assert "The plan of this report was picked among trials of cost&lt;=0.2." in text


@pytest.mark.parametrize(
    ("regret", "sentence"),
    [
        (
            {"mean": 0.02, "low": 0.01, "high": 0.03, "p": 0.004, "n": 10},
            "What a user can deploy, the surrogate's plan, loses 0.020 [0.010, 0.030] against the "
            "oracle's",
        ),
        (
            {"mean": 0.02, "low": -0.01, "high": 0.05, "p": 0.2, "n": 10},
            "What a user can deploy, the surrogate's plan, is not shown to lose against the "
            "oracle's: 0.020 [\u22120.010, 0.050]",
        ),
    ],
)
def test_what_the_surrogate_loses_is_said_with_its_interval(regret, sentence):
    report = busy_sample()[0]
    report["references"][1]["regret"] = regret
    assert findings_search.references(report) == sentence
    assert facts.references(report).rows[1][5:] == (
        "+0.020",
        sentence[sentence.index("[") :].removesuffix(" against the oracle's"),
        number(regret["p"]),
    )


def test_one_plan_that_two_searches_found_is_called_the_same():
    report = busy_sample()[0]
    none = {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0, "n": 10, "shown": False}
    report["references"][1]["regret"] = none
    assert facts.references(report).rows[1][-3:] == (DASH, DASH, "the same plan")
    told = "What a user can deploy, the surrogate's plan, is the oracle's plan"
    assert findings_search.references(report) == told
    ladder.claims(report)[0].update(none)
    assert [row[-1] for row in ladder.rungs(report).rows[:2]] == [DASH, "the same plan"]
    assert "V1 found the plan of V0" in ladder.finding(report)
    claim, other = ({**report["comparisons"][0], **each} for each in (none, {"shown": False}))
    same, differs = facts.claims([claim, other]).rows
    assert same[1:] == (DASH, DASH, DASH, DASH, "the same")
    assert differs[-1] == "not shown"
    assert DASH not in differs
    report["comparisons"] = [claim]
    margin = numbers(report)[-1]
    assert (margin.value, margin.note) == ("the same", "on every seed")


def test_what_a_search_practised_on_is_told():
    report = busy_sample()[0]
    practised = [row[0] for row in facts.searches(report).rows if "matched set" in row[0]]
    assert len(practised) == 1
    assert practised[0].endswith(", by the surrogate on its matched set")
    for search in report["searches"]:
        search["reference"] = "surrogate"
    assert all(row[0].endswith(" on its matched set") for row in facts.searches(report).rows)


def test_the_pool_is_in_no_headline():
    report = busy_sample()[0]
    del report["references"][1]
    value = report["references"][0]["objective"]
    told = f"The plan of the oracle reaches {number(value['mean'])} ± {number(value['ci95'])}"
    assert findings_search.references(report) == told
    assert [row[0] for row in facts.references(report).rows] == ["oracle, main", "pool"]


def test_searches_by_other_references_stay_out_of_what_compares_trials(busy):
    trials = busy_sample()[2]
    assert freest_search(trials) == "V4 surrogate"
    assert freest_search(alike(trials)) == "V4"
    assert "The best trial is number " in (busy / "report.html").read_text()
    assert set(pd.read_parquet(busy / "trials.parquet")["search"]) == set(trials["search"])
    assert alike(pd.DataFrame()).empty


def test_plans_by_other_references_are_not_what_the_report_is_about():
    rows = busy_sample()[0]["rows"]
    rum = [row for row in rows if row["method"] == "rum"]
    names = {label(row) for row in rum}
    assert names == {"RUM (search)", "RUM (surrogate)", "RUM (pool)", "RUM (file)"}
    for row in copy.copy(rum):
        rows.remove(row)
        rows.insert(0, row)
    assert label(subject(rows) or {}) == "RUM (search)"
