"""Rows of the report: one row per plan, its names, and its collapses."""

from dataclasses import replace

import numpy as np
import pytest

from rum_ray.results.rows import collapses, find_row, merged, name_of, trials_of
from rum_ray.results.schema import Metric, PlanStep, Row, RowName

ONE = (PlanStep("all", {"name": "salun", "lr": 0.1}),)
TWO = (PlanStep("low", {"name": "nothing"}), PlanStep("high", {"name": "salun", "lr": 0.1}))


def row(method: str, plan: tuple[PlanStep, ...] = (), **parts: object) -> Row:
    values = {"unlearner": None, "source": "search", "trials": 8} | parts
    return Row(method=method, plan=plan, seeds=(0, 1), metrics={}, klom={}, **values)


def test_rows_of_one_plan_are_one_row_with_all_names():
    rows = [
        row("retrained"),
        row("original"),
        row("best_single", ONE, unlearner="salun", trials=24),
        row("refined", TWO),
        row("rum", ONE, trials=12),
        row("rum", ONE, source="surrogate"),
    ]
    found = merged(rows)
    assert [each.method for each in found] == ["retrained", "original", "refined", "rum"]
    rum = found[-1]
    assert rum.also == (
        RowName("rum", None, "surrogate", 8),
        RowName("best_single", "salun", "search", 24),
    )
    assert replace(rum, also=()) == rows[4]
    # Every name leads to its row and its trials.
    for each in rows:
        there = find_row(found, each.method, each.source)
        assert there is not None
        assert there.plan == each.plan
        assert trials_of(there, each.method, each.source) == each.trials
    assert find_row(found, "rum", "file") is None
    assert merged(found) == found


def test_rows_without_a_plan_and_those_of_compare_stay():
    rows = [
        row("retrained"),
        row("retrained_again"),
        row("vanilla", ONE),
        row("shuffled", ONE),
        row("best_single", ONE),
    ]
    assert merged(rows) == tuple(rows)


def test_the_order_of_the_rows_stays():
    rows = [row("best_single", ONE), row("refined", TWO), row("rum", (*TWO, *ONE))]
    assert [name_of(each) for each in merged(rows)] == [name_of(each) for each in rows]


@pytest.mark.parametrize(
    ("values", "worst", "count"),
    [((0.8, 0.9, 0.7), 0.7, 0), ((0.9, 0.9, 0.2), 0.2, 1), ((0.9, None), None, None)],
)
def test_a_seed_below_half_of_the_mean_has_collapsed(values, worst, count):
    known = [value for value in values if value is not None]
    found = collapses(Metric(float(np.mean(known)), None, values))
    assert found == (worst, count)
    assert collapses(Metric.missing("no")) == (None, None)
