"""The search: trials, the Pareto front, the picks, and what is compared with what."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from rum_ray.report.figures.search import hues, progress
from rum_ray.report.figures.style import COLORS
from rum_ray.report.sections.search import (
    freest,
    main,
    outdone,
    pareto,
    plan_finding,
    progress_finding,
    searches,
)
from rum_ray.report.text import format_number, format_percent, format_plan
from rum_ray.report.trials import choices, comparable, complete, explained, freest_search, front

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
    assert [row[0] for row in rows] == [*numbers[:-1], f"{numbers[-1]}, picked"]
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
    assert told.endswith(f"of V4, with {format_number(other.best.objective)}")
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
    ends = [text.get_text() for text in progress(trials).axes[0].texts]
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
