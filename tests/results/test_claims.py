"""Claims about the rows of a table, by every co-primary metric."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rum_ray.experiment import SearchConfig
from rum_ray.results.claims import (
    LOWER,
    PRIMARY,
    Deciding,
    claims,
    comparisons,
    regret,
    row_label,
    variants,
)
from rum_ray.results.schema import Claim, Metric, Row, RowName
from rum_ray.seeding import Seed

SEEDS = 6
RULE = Deciding("objective_auc")


def row(name: str, better: float, spread: float) -> Row:
    values = tuple(map(float, better + spread * (Seed(0) / name).uniform(SEEDS)))
    metric = Metric(float(np.mean(values)), None, values)
    metrics = {RULE.metric: metric, "objective": metric}
    return Row(name, None, "search", None, (), tuple(range(SEEDS)), metrics, {})


def claims_of(rows: list[Row], rule: Deciding = RULE) -> tuple[Claim, ...]:
    """The claims that the first row is better than each other row."""
    return claims([(rows[0].method, rows[0], other.method, other) for other in rows[1:]], rule)


def several(name: str, **better: float) -> Row:
    """A row with a level of its own in each co-primary metric; higher is better."""
    found = {}
    for metric in (*PRIMARY, "u_lira_gap"):
        noise = 0.02 * (Seed(0) / name / metric).uniform(SEEDS)
        level = 0.5 + better.get(metric, 0.0)
        values = tuple(map(float, (1 - level if metric in LOWER else level) + noise))
        found[metric] = Metric(float(np.mean(values)), None, values)
    return Row(name, None, "search", None, (), tuple(range(SEEDS)), found, {})


def claim_of(a: Row, b: Row, rule: Deciding = RULE) -> Claim:
    """The claim that one row is better than another."""
    (found,) = claims([("a", a, "b", b)], rule)
    return found


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
        assert claim.verdict == ("shown" if claim.shown else claim.by[0].verdict)
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
    assert claims([], RULE) == claims([("a", one, "b", one)], RULE) == comparisons(ROWS, RULE) == ()


def method(name: str, source: str | None = None, unlearner: str | None = None) -> Row:
    """A row with a name of its own."""
    return Row(name, unlearner, source, None, (), tuple(range(SEEDS)), ROWS[0].metrics, {})


def test_the_searched_plan_is_compared_with_every_competing_row():
    rows = [
        *map(method, ("retrained", "retrained_again", "original")),
        method("vanilla", "file", "scrub"),
        method("best_single", "search", "salun"),
        method("rum", "search"),
        method("rum", "surrogate"),
        method("rum", "file"),
    ]
    found = comparisons(rows, RULE)
    others = ["best_single salun", "original", "vanilla scrub", "rum (file)"]
    assert [(c.a, c.b) for c in found] == [("rum (search)", other) for other in others]
    assert row_label(rows[0]) == "retrained"


def test_the_searched_metric_decides_and_another_one_can_contradict():
    base, ours = several("base"), several("ours", objective_auc=0.2)
    found = claim_of(ours, base)
    assert (found.metric, found.verdict, found.shown) == ("objective_auc", "shown", True)
    assert found.against == ()
    assert found.by[0].mean == found.mean == pytest.approx(0.2, abs=0.02)
    for metric in (*PRIMARY, "u_lira_gap"):
        if metric == RULE.metric:
            continue
        found = claim_of(several("ours", objective_auc=0.2, **{metric: -0.2}), base)
        assert found.verdict == "shown by ToW - gap only"
        assert found.against == (metric,)
        assert not found.shown
        # The others alone decide nothing.
        found = claim_of(several("ours", **{metric: 0.2}), base)
        assert (found.verdict, found.against) == ("not shown", ())


def test_verdicts_are_symmetric():
    base = several("base")
    for better in ({}, {"objective_auc": 0.2}, {"objective_auc": 0.2, "tow_examples": -0.2}):
        a = several("ours", **better)
        one, other = claim_of(a, base), claim_of(base, a)
        assert [lead.mean for lead in one.by] == pytest.approx([-lead.mean for lead in other.by])
        turned = {"shown": "worse", "worse": "shown", "not shown": "not shown"}
        assert [turned[lead.verdict] for lead in one.by] == [lead.verdict for lead in other.by]
        expected = {"shown": "worse", "shown by ToW - gap only": "worse", "not shown": "not shown"}
        assert other.verdict == expected[one.verdict]


def test_agreement_decides_where_it_was_searched():
    search = SearchConfig(objective="examples", reference="surrogate")
    rule = Deciding.of(search, "svm")
    a = several("a", tow_examples=0.2, objective_svm=-0.2)
    found = claim_of(a, several("b"), rule)
    assert (found.metric, found.verdict) == ("tow_examples", "shown by agreement only")
    assert Deciding.of(SearchConfig(attack="svm"), "auc") == Deciding("objective_svm")
    assert Deciding.of(None, "auc") == Deciding("objective_auc")


def test_a_metric_that_a_row_lacks_decides_nothing():
    a, b = several("a", u_lira_gap=-0.2), several("b")
    assert claim_of(a, b).by[-1].metric == "u_lira_gap"
    pool = {"u_lira_gap": Metric.missing("no"), "pool_lira_gap": a.metrics["u_lira_gap"]}
    a = replace(a, metrics={**a.metrics, **pool})
    assert [lead.metric for lead in claim_of(a, b).by] == ["objective_auc", *_rest()]
    b = replace(b, metrics={**b.metrics, "pool_lira_gap": b.metrics["u_lira_gap"]})
    assert claim_of(a, b).by[-1].metric == "pool_lira_gap"


def _rest() -> list[str]:
    return [name for name in PRIMARY if name != RULE.metric]


def test_pairs_of_the_same_rows_are_one_claim():
    a, b, c = several("a", objective_auc=0.2), several("b"), several("c")
    pairs = [("A", a, "B", b), ("A", a, "also B", b), ("A", a, "C", c), ("B", b, "also B", b)]
    first, second, same = claims(pairs, RULE)
    assert (first.a, first.b, first.also) == ("A", "B", (("A", "also B"),))
    assert (second.also, second.b) == ((), "C")
    assert (same.mean, same.low, same.high, same.p_holm) == (0, 0, 0, 1)
    # Neither the second name nor a row with itself makes the correction stricter.
    assert [first.p_holm, second.p_holm] == [
        claim.p_holm for claim in claims([pairs[0], pairs[2]], RULE)
    ]


def test_the_power_is_that_of_the_paired_test():
    a, b = several("a", objective_auc=0.01), several("b")
    difference = np.array(a.metrics["objective_auc"].values) - b.metrics["objective_auc"].values
    error = difference.std(ddof=1) / np.sqrt(SEEDS)
    needed = claim_of(a, b).detectable
    power = stats.nct.sf(stats.t.ppf(0.975, SEEDS - 1), SEEDS - 1, needed / error)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_rum_f_is_compared_with_vanilla_by_unlearner():
    rows = [
        replace(several("x"), method=method, unlearner=unlearner)
        for unlearner in ("salun", "scrub")
        for method in ("vanilla", "shuffle", "rum_f")
    ]
    found = variants([*rows[:-1], rows[-1]], RULE)
    assert [(c.a, c.b) for c in found] == [
        ("rum_f salun", "vanilla salun"),
        ("rum_f scrub", "vanilla scrub"),
    ]
    assert variants(rows[:2], RULE) == ()


def test_a_claim_is_for_one_forget_set_unless_the_study_repeats():
    a, b = several("a"), several("b")
    assert claim_of(a, b).repeats == 1
    assert claim_of(a, b, Deciding("objective_auc", repeats=5)).repeats == 5


def test_regret_is_by_the_metric_that_decides():
    a, b = several("a", objective_auc=0.2), several("b", objective_svm=0.2)
    found = regret(a, b, RULE)
    assert (found.metric, found.mean) == (RULE.metric, claim_of(a, b).mean)
    assert [lead.metric for lead in found.by] == [lead.metric for lead in claim_of(a, b).by]
    few = [replace(each, seeds=(0, 1)) for each in (a, b)]
    assert regret(*few, RULE) is None


def test_a_row_with_two_names_is_compared_once():
    single = RowName("best_single", "salun", "search", 8)
    ours = method("rum", "search")
    rows = [ours, replace(method("rum", "file"), also=(single,)), method("original")]
    assert [claim.b for claim in comparisons(rows, RULE)] == ["rum (file)", "original"]
    # The plan is that of the best single unlearner: there is nothing to claim about the two.
    rows = [replace(ours, also=(single,)), method("original")]
    assert [claim.b for claim in comparisons(rows, RULE)] == ["original"]
