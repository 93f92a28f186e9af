"""Claims about the rows of a table."""

import numpy as np
import pytest
from scipy import stats

from rum_ray.results.rows import claims, comparisons, row_label
from rum_ray.results.schema import Claim, Metric, Row
from rum_ray.seeding import Seed

SEEDS = 6


def row(name: str, better: float, spread: float) -> Row:
    values = tuple(map(float, better + spread * (Seed(0) / name).uniform(SEEDS)))
    metric = Metric(float(np.mean(values)), None, values)
    return Row(name, None, "search", None, (), tuple(range(SEEDS)), {"objective": metric}, {})


def claims_of(rows: list[Row]) -> tuple[Claim, ...]:
    """The claims that the first row is better than each other row."""
    return claims([(rows[0].method, rows[0], other.method, other) for other in rows[1:]])


ROWS = [
    row("ours", 0.8, 0.02),
    row("worse", 0.5, 0.02),
    row("a little worse", 0.77, 0.02),
    row("like ours", 0.8, 0.02),
    row("better", 0.9, 0.02),
    row("who knows", 0.6, 0.5),
]


def test_claims_are_paired_t_tests_with_holm_s_correction():
    ours, *others = (np.array(r.metrics["objective"].values) for r in ROWS)
    tests = [stats.ttest_rel(ours, values) for values in others]
    order = sorted(range(5), key=lambda i: tests[i].pvalue)
    least = 0.0
    corrected = [0.0] * 5
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (5 - rank) * tests[i].pvalue))
        corrected[i] = least
    found = claims_of(ROWS)
    assert [(c.a, c.b) for c in found] == [("ours", r.method) for r in ROWS[1:]]
    for claim, test, p_holm in zip(found, tests, corrected, strict=True):
        interval = test.confidence_interval(0.95)
        assert (claim.low, claim.high) == pytest.approx((interval.low, interval.high))
        assert (claim.p, claim.p_holm) == pytest.approx((test.pvalue, p_holm))


def test_a_claim_is_shown_only_where_the_bound_is_above_zero_and_p_survives():
    found = claims_of(ROWS)
    for claim in found:
        assert claim.shown == (claim.low > 0 and claim.p_holm < 0.05)
    shown = {claim.b for claim in found if claim.shown}
    assert shown >= {"worse"}
    # Zero inside the interval, or the other side of it: not shown.
    assert not shown & {"like ours", "better"}
    # One comparison that passes alone need not pass among many.
    nearly = row("a little worse", 0.794, 0.02)
    (alone,) = claims_of([ROWS[0], nearly])
    assert alone.shown
    among = claims_of([ROWS[0], nearly, *[row(str(k), 0.8, 0.02) for k in range(9)]])[0]
    assert among.low > 0
    assert not among.shown


def test_nothing_is_claimed_without_pairs():
    one = Row("a", None, None, None, (), (0,), {"objective": Metric(0.5, None, (0.5,))}, {})
    assert claims([]) == claims([("a", one, "b", one)]) == comparisons(ROWS) == ()


def method(name: str, source: str | None = None, unlearner: str | None = None) -> Row:
    """A row with a name of its own."""
    metric = ROWS[0].metrics["objective"]
    return Row(name, unlearner, source, None, (), (), {"objective": metric}, {})


def test_the_searched_plan_is_compared_with_every_competing_row():
    rows = [
        *map(method, ("retrained", "retrained_again", "original")),
        method("vanilla", "file", "scrub"),
        method("best_single", "search", "salun"),
        method("rum", "search"),
        method("rum", "surrogate"),
        method("rum", "file"),
    ]
    found = comparisons(rows)
    others = ["best_single salun", "original", "vanilla scrub", "rum (file)"]
    assert [(c.a, c.b) for c in found] == [("rum (search)", other) for other in others]
    assert row_label(rows[0]) == "retrained"
