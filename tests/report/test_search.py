"""The search: trials, the Pareto front, the picks, and what is compared with what."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from rum_ray.report.figures.search import choice_panels, hues, progress
from rum_ray.report.figures.style import COLORS
from rum_ray.report.sections.picks import dropped, finalists, main, outdone, pareto, searches
from rum_ray.report.sections.search import freest, plan_finding, progress_finding
from rum_ray.report.text import format_number, format_percent, format_plan
from rum_ray.report.trials import (
    choices,
    comparable,
    complete,
    explained,
    freest_search,
    front,
    picked,
)

from .shapes import busy, by_label, demo, steps


def test_a_space_has_one_colour_in_every_figure():
    spaces = ["V0", "V1", "V2", "V3", "V4"]
    colors = hues(spaces)
    assert colors["V4"] == COLORS.accent
    assert len(set(colors.values())) == 5
    assert hues([*spaces[:2], "V4"]).items() <= colors.items()


def test_the_front_is_that_of_the_largest_space_by_its_trials():
    report = busy()
    search = freest(report.summary.searches)
    assert search is not None
    assert (search.name, search.reference) == ("V4", "oracle")
    edge = front(report.trials[report.trials["search"] == "V4"])
    rows = pareto(search).texts()[1]
    numbers = [str(trial) for trial in edge["trial"]]
    names = [f"V4 trial {number}" for number in numbers]
    assert [row[0] for row in rows] == [*names[:-1], f"{names[-1]}, picked"]
    assert [row[1] for row in rows] == [format_percent(cost) for cost in edge["cost"]]
    assert [row[2] for row in rows] == [format_number(value) for value in edge["objective"]]
    assert [row[3] for row in rows] == [format_plan(steps(plan)) for plan in edge["plan"]]


def test_a_front_of_one_trial_is_both_its_ends():
    search = demo().summary.searches[-1]
    alone = replace(search, front=search.front[:1])
    assert "both the best and the cheapest" in pareto(alone).title
    assert freest(()) is None
    assert freest((replace(search, front=()),)) is None


def test_a_pick_by_cost_is_named():
    search = demo().summary.searches[-1]
    assert "cost<=0.2" not in pareto(search).caption
    assert "cost<=0.2" in pareto(replace(search, pick="cost<=0.2")).caption


def test_the_best_trial_and_the_pick_are_distinguished():
    report = busy()
    found, last = complete(comparable(report.trials)), main(report.summary.searches)[-1]
    assert "its plan was picked" in progress_finding(report.summary.searches, found)
    other = replace(last, best=report.summary.searches[0].best)
    told = progress_finding((*report.summary.searches[:4], other), found)
    assert told.startswith("The best trial is V")
    assert told.endswith(f"of V4, with {format_number(other.best.validated)} on fresh seeds")
    assert not any("picked" in row[0] for row in pareto(other).texts()[1])


def test_the_plan_of_the_search_is_said_to_be_that():
    rows = by_label(demo())
    assert "the plan of the search" in plan_finding(rows["RUM (search)"])
    assert "the plan of the search" not in plan_finding(rows["RUM (file)"])


def test_every_space_has_its_name_everywhere():
    report = busy()
    trials = comparable(report.trials)
    names = [row[0] for row in searches(report.summary.searches).texts()[1]]
    sides = ("surrogate on its matched set", "pool")
    assert names[5:] == [f"{names[4]}, by the {side}" for side in sides]
    assert names[0] == "V0: one unlearner"
    assert freest_search(trials[trials["search"] != "V4"]) == "V3"
    ends = [text.get_text() for text in progress(trials, "J").axes[0].texts]
    assert set(names[:5]) <= set(ends)


def test_the_matched_set_of_a_surrogate_is_named():
    surrogate = [replace(s, reference="surrogate") for s in busy().summary.searches]
    names = [row[0] for row in searches(surrogate).texts()[1]]
    assert all(name.endswith(" on its matched set") for name in names)


def test_searches_that_outdo_the_pick_are_listed():
    first, *others = demo().summary.searches
    best = replace(first.best, validated=2.0)
    assert len(outdone(demo().summary.searches)) == sum(
        s.best.validated > others[-1].best.validated for s in (first, *others)
    )
    assert "2.000" in outdone((replace(first, best=best), *others))[0]
    assert outdone((first,)) == []


def test_trials_by_other_references_are_not_compared():
    trials = busy().trials
    assert freest_search(trials) == "V4 surrogate"
    assert freest_search(comparable(trials)) == "V4"
    assert set(comparable(trials)["search"]) == {"V0", "V1", "V2", "V3", "V4"}


@pytest.mark.parametrize("empty", [pd.DataFrame(), demo().trials.iloc[:0]], ids=["bare", "columns"])
def test_no_trials_are_no_trials(empty):
    assert comparable(empty).empty
    assert complete(empty).empty
    assert front(empty).empty


def test_panels_of_choices_are_in_the_order_of_the_subsets():
    plan = [{"subset": name, "unlearner": {"name": "salun"}} for name in ("high", "low", "mid")]
    trial = {"search": "V4", "trial": 0, "status": "complete", "objective": 0.5}
    trials = pd.DataFrame([{**trial, "plan": json.dumps(plan)}])
    assert list(choices(trials, "V4", ["low", "mid", "high"])) == ["low", "mid", "high"]
    assert list(choices(trials, "V4", ["low"])) == ["low", "high", "mid"]


def test_the_explained_variance_is_corrected_for_chance():
    assert explained({"a": [1.0, 1.0], "b": [0.0, 0.0]}) == 1.0
    assert explained({"a": [0.0, 1.0], "b": [0.0, 1.0]}) == 0.0
    assert explained({"a": [0.5], "b": [0.5]}) is None


def test_the_finalists_are_listed_and_those_that_were_dropped_told():
    search = main(busy().summary.searches)[-1]
    header, rows = finalists(search).texts()
    assert [row[-1] for row in rows] == ["picked", "fails on a fresh seed"]
    first = dict(zip(header, rows[0], strict=True))
    assert first["J fresh"] == format_number(search.best.validated)
    assert first["J searched"] == format_number(search.best.objective)
    assert dropped(search) == "2 finalists of V4; 1 dropped: fails on a fresh seed"
    assert dropped(replace(search, finalists=search.finalists[:1])).endswith("none was dropped")


def test_the_expected_value_of_a_pick_is_that_of_the_fresh_seeds():
    header, rows = searches(busy().summary.searches).texts()
    for search, row in zip(busy().summary.searches, rows, strict=True):
        told = dict(zip(header, row, strict=True))
        assert told["expected J"] == format_number(search.best.validated)
        assert format_number(search.best.objective) not in row


def test_subsets_that_share_a_step_have_its_unlearner():
    plan = [{"subset": "low+high", "unlearner": {"name": "salun"}}]
    plan += [{"subset": "mid", "unlearner": {"name": "nothing"}}]
    one = [{"subset": "all", "unlearner": {"name": "finetune"}}]
    trial = {"search": "V5", "trial": 0, "status": "complete", "objective": 0.5}
    trials = pd.DataFrame([{**trial, "plan": json.dumps(each)} for each in (plan, one)])
    names = ["low", "mid", "high"]
    found = choices(trials, "V5", names)
    assert found["low"] == found["high"] == {"salun": [0.5], "finetune": [0.5]}
    assert found["mid"] == {"nothing": [0.5], "finetune": [0.5]}


def test_the_star_is_the_picked_plan():
    plan = [{"subset": name, "unlearner": {"name": "salun"}} for name in ("low", "high")]
    better = [{**step, "unlearner": {"name": "nothing"}} for step in plan]
    trial = {"search": "V5", "trial": 0, "status": "complete"}
    rows = [
        {**trial, "objective": value, "plan": json.dumps(p)}
        for value, p in ((0.5, plan), (0.6, better))
    ]
    trials = pd.DataFrame(rows)
    star = picked(trials, "V5", steps(json.dumps(plan)))
    assert star == {"low": ("salun", 0.5), "high": ("salun", 0.5)}
    assert picked(trials, "V4", steps(json.dumps(plan))) == {}
    found = choices(trials, "V5", ["low", "high"])
    for stars, shown in ((star, 2), ({}, 0)):
        lines = [line for axes in choice_panels(found, stars, "J").axes for line in axes.lines]
        assert sum(line.get_marker() == "*" for line in lines) == shown
