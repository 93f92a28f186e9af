"""What a table claims of its rows."""

import numpy as np
import pytest
from scipy import stats

from rum_ray.results.rows import comparisons
from rum_ray.seeding import Seed

SEEDS = 6


def row(name: str, better: float, spread: float) -> tuple[str, dict]:
    values = better + spread * (Seed(0) / name).uniform(SEEDS)
    return name, {"metrics": {"objective": {"values": list(values)}}}


ROWS = [
    row("ours", 0.8, 0.02),
    row("worse", 0.5, 0.02),
    row("a little worse", 0.77, 0.02),
    row("like ours", 0.8, 0.02),
    row("better", 0.9, 0.02),
    row("who knows", 0.6, 0.5),
]


def test_claims_are_paired_t_tests_with_holm_s_correction():
    ours = np.array(ROWS[0][1]["metrics"]["objective"]["values"])
    tests = [stats.ttest_rel(ours, r["metrics"]["objective"]["values"]) for _, r in ROWS[1:]]
    order = sorted(range(5), key=lambda i: tests[i].pvalue)
    least = 0.0
    corrected = [0.0] * 5
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (5 - rank) * tests[i].pvalue))
        corrected[i] = least
    claims = comparisons(ROWS)
    assert [(c["a"], c["b"]) for c in claims] == [("ours", name) for name, _ in ROWS[1:]]
    for claim, test, p_holm in zip(claims, tests, corrected, strict=True):
        interval = test.confidence_interval(0.95)
        assert (claim["low"], claim["high"]) == pytest.approx((interval.low, interval.high))
        assert (claim["p"], claim["p_holm"]) == pytest.approx((test.pvalue, p_holm))


def test_a_claim_is_shown_only_where_the_bound_is_above_zero_and_p_survives():
    claims = comparisons(ROWS)
    for claim in claims:
        assert claim["shown"] == (claim["low"] > 0 and claim["p_holm"] < 0.05)
    shown = {claim["b"] for claim in claims if claim["shown"]}
    assert shown >= {"worse"}
    # Zero inside the interval, or the other side of it: not shown.
    assert not shown & {"like ours", "better"}
    # One comparison that passes alone need not pass among many.
    alone = comparisons([ROWS[0], NEARLY])[0]
    assert alone["shown"]
    among = comparisons([ROWS[0], NEARLY, *[row(str(k), 0.8, 0.02) for k in range(9)]])[0]
    assert among["low"] > 0
    assert not among["shown"]


NEARLY = row("a little worse", 0.794, 0.02)


def test_nothing_is_claimed_without_pairs():
    one = [(name, {"metrics": {"objective": {"values": [0.5]}}}) for name in "ab"]
    assert comparisons([]) == comparisons(ROWS[:1]) == comparisons(one) == []
