import math

import pytest

from rum_ray.seeding import Seed
from rum_ray.training.domains import (
    Choice,
    Integers,
    LogUniform,
    Rate,
    Uniform,
    bounds,
    contains,
    describe,
    nearest,
    snap_to_grid,
)

DOMAINS = (
    Uniform(0.1, 0.9),
    LogUniform(1e-3, 0.2),
    Integers(1, 10),
    Integers(3, 4),
    Choice((1, 5, 9)),
)


@pytest.mark.parametrize("domain", DOMAINS, ids=describe)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_grid_has_count_values_in_the_domain(domain, count):
    shares = (Seed(0) / "shares").uniform(2000)
    low, high = (bounds(domain)[0], bounds(domain)[-1])
    drawn = [low + share * (high - low) for share in shares]
    if isinstance(domain, LogUniform):
        drawn = [low * (high / low) ** share for share in shares]
    if isinstance(domain, Integers | Choice):
        drawn = [value for value in range(low, high + 1) if contains(domain, value)]
    values = {snap_to_grid(domain, value, count) for value in drawn}
    possible = len(drawn) if isinstance(domain, Integers | Choice) else count
    expected = possible if isinstance(domain, Choice) else min(possible, count)
    assert len(values) == expected
    assert all(contains(domain, value) for value in values)
    assert {snap_to_grid(domain, value, count) for value in values} == values
    # Each value is the midpoint of its cell, so the first lies above the lower bound.
    assert low < min(values) or isinstance(domain, Integers | Choice)


def test_the_cells_of_a_grid_are_equal():
    assert [round(snap_to_grid(Uniform(0, 3), v, 3), 9) for v in (0, 0.99, 1.01, 3)] == [
        0.5,
        0.5,
        1.5,
        2.5,
    ]
    logarithmic = [snap_to_grid(LogUniform(1e-3, 1), v, 3) for v in (1e-3, 0.0099, 0.0101, 1)]
    assert logarithmic == pytest.approx([10**-2.5, 10**-2.5, 10**-1.5, 10**-0.5])
    assert [snap_to_grid(Integers(1, 10), v, 3) for v in range(1, 11)] == [2] * 4 + [6] * 3 + [
        9
    ] * 3
    drawn = Seed(1).uniform(3000)
    counts = [sum(snap_to_grid(Uniform(0, 1), v, 3) == k / 6 for v in drawn) for k in (1, 3, 5)]
    assert all(abs(count - 1000) < 90 for count in counts)


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (LogUniform(0.05, 0.2), 0.01, 0.05),
        (LogUniform(0.001, 0.005), 0.01, 0.005),
        (Integers(1, 3), 5, 3),
        (Uniform(0.1, 0.9), 0.5, 0.5),
        (Choice((1, 4, 9)), 5, 4),
        (Choice((0.1, 0.01)), 0.01, 0.01),
        (Choice(("first", "last")), "last", "last"),
        (Choice(("first",)), "last", "first"),
    ],
)
def test_nearest_is_the_closest_value_in_the_domain(domain, value, expected):
    assert nearest(domain, value) == expected
    assert contains(domain, expected)


def test_contains_checks_type_and_bounds():
    assert contains(Integers(1, 3), 3)
    assert contains(Uniform(0, 1), 1)
    for value in (0, 4, 2.5, True, "2", None, math.nan):
        assert not contains(Integers(1, 3), value)
    for value in (-0.1, 1.1, "x", None, math.nan, True):
        assert not contains(Uniform(0, 1), value)
    assert not contains(Choice((1, 2)), 3)


def test_a_rate_is_a_multiple_of_the_rate_of_the_recipe():
    rate = Rate(1e-3, 0.2)
    assert rate.scaled(Rate.AT) == LogUniform(1e-3, 0.2)
    scaled = rate.scaled(0.01)
    assert (scaled.low, scaled.high) == pytest.approx((1e-4, 0.02))
    assert not isinstance(scaled, Rate)
    assert describe(rate) == "0.01 to 2 times the recipe's lr, logarithmic"
