"""The race against an independent reference: exact means, and one plan at a time."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.search.race import Unit, collapses, finalists, promoted, ranking

SEEDS = 3
VALUES = st.integers(-8, 8).map(lambda eighths: eighths / 8)
RESULTS = st.lists(st.lists(VALUES, min_size=1, max_size=SEEDS), min_size=1, max_size=20)


def mean(by_seed):
    return sum(map(Fraction, by_seed)) / len(by_seed)


def better(results, one, other):
    """True if a plan goes before another: the higher mean, or the earlier of two equal ones."""
    ours, theirs = mean(results[one]), mean(results[other])
    return ours > theirs or (ours == theirs and one < other)


def place(results, plan):
    return sum(better(results, other, plan) for other in range(len(results)))


@given(RESULTS)
def test_the_ranking_is_by_mean_and_then_by_order(results):
    assert [place(results, plan) for plan in ranking(results)] == [*range(len(results))]


@given(RESULTS)
def test_the_best_third_goes_on_until_it_has_every_seed(results):
    third = math.ceil(len(results) / 3)
    expected = {
        Unit(plan, len(by_seed))
        for plan, by_seed in enumerate(results)
        if place(results, plan) < third and len(by_seed) < SEEDS
    }
    units = promoted(results, SEEDS)
    assert len(units) == len(expected)
    assert {*units} == expected
    # The best one first, so that a budget that ends goes to it.
    assert [place(results, unit.trial) for unit in units] == sorted(
        place(results, unit.trial) for unit in units
    )


@given(st.lists(st.lists(VALUES, min_size=SEEDS, max_size=SEEDS), min_size=1, max_size=15))
def test_a_race_ends_with_the_best_third_on_every_seed(table):
    results = [row[:1] for row in table]
    for _ in range(SEEDS * len(table)):
        units = promoted(results, SEEDS)
        for unit in units:
            assert unit.seed == len(results[unit.trial])
            results[unit.trial].append(table[unit.trial][unit.seed])
        if not units:
            break
    assert not promoted(results, SEEDS)
    assert max(map(len, results)) == SEEDS
    best = ranking(results)[: math.ceil(len(table) / 3)]
    assert all(len(results[plan]) == SEEDS for plan in best)


@given(RESULTS, st.integers(1, 8))
def test_finalists_with_every_seed_come_first(results, count):
    left, expected = {*range(len(results))}, []
    while left and len(expected) < count:
        full = {plan for plan in left if len(results[plan]) == SEEDS} or left
        (best,) = (p for p in full if all(p == q or better(results, p, q) for q in full))
        expected.append(best)
        left.remove(best)
    assert finalists(results, SEEDS, count) == expected


@pytest.mark.parametrize(
    ("by_seed", "expected"),
    [
        ([0.9], False),
        ([0.9, 0.5, 0.9], False),
        ([0.9, 0.3, 0.9], True),
        ([0.9, -1.0], True),
        ([-0.2, -0.2, -0.2], False),
        ([-0.3], False),
        ([-0.2, -0.2, -0.8], True),
        ([0.0, 0.0], False),
    ],
)
def test_a_collapse_is_half_of_the_mean_below_it(by_seed, expected):
    assert collapses(by_seed) == expected


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_a_plan_with_equal_results_never_collapses(by_seed):
    assert not collapses([by_seed[0]] * len(by_seed))
