import itertools
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from rum_ray.evaluation.statistics import (
    Mean,
    PairedGap,
    compare,
    detectable,
    expected_best,
    holm,
    kendall,
    pareto,
)
from rum_ray.seeding import Seed


@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("power", [0.5, 0.8])
def test_a_detectable_difference_is_found_as_often_as_asked(count, power):
    a, b = Seed(count).uniform(2 * count).reshape(2, count)
    shift = detectable(a, b, power) / stats.sem(a - b)
    critical = stats.t.ppf(0.975, count - 1)
    assert stats.nct.sf(critical, count - 1, shift) == pytest.approx(power, abs=1e-4)
    # Draws: the t-statistic of pairs whose true difference is the detectable one.
    draws = np.random.default_rng(count).normal(shift / np.sqrt(count), 1, (20_000, count))
    found = stats.ttest_1samp(draws, 0, axis=1).statistic > critical
    assert found.mean() == pytest.approx(power, abs=0.015)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_mean_has_its_t_interval(count):
    values = Seed(count).uniform(count)
    low, high = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    mean = Mean.of(values)
    assert mean.mean == pytest.approx(values.mean())
    assert (mean.mean - mean.ci95, mean.mean + mean.ci95) == pytest.approx((low, high))
    assert mean.values == tuple(values)


def test_half_widths_are_those_of_the_protocol():
    # Protocol 7: 2.48, 1.24 and 0.72 standard deviations for 3, 5 and 10 seeds.
    for count, factor in ((3, 2.48), (5, 1.24), (10, 0.72)):
        values = Seed(count).uniform(count)
        assert Mean.of(values).ci95 == pytest.approx(factor * values.std(ddof=1), rel=0.01)


def test_one_seed_has_no_interval():
    assert Mean.of([0.3]) == Mean(0.3, None, (0.3,))
    with pytest.raises(ValueError, match="0 values"):
        Mean.of([])


def test_a_gap_is_the_size_of_the_mean_difference():
    # Protocol 3: noise that cancels over seeds is no gap.
    differences = [0.1, -0.1, 0.02, -0.06]
    gap = PairedGap.of(differences)
    assert gap.mean == pytest.approx(0.01)
    assert gap.values == (0.1, 0.1, 0.02, 0.06)
    assert gap.ci95 == Mean.of(differences).ci95
    # For gaps, report.json also has the mean of absolute values, which noise biases upwards.
    assert asdict(gap)["mean_absolute"] == pytest.approx((0.1 + 0.1 + 0.02 + 0.06) / 4)
    assert "mean_absolute" not in asdict(Mean.of(differences))
    assert PairedGap.of([-0.2]) == PairedGap(0.2, None, (0.2,), 0.2)


def test_a_comparison_is_the_paired_t_test():
    a, b = Seed(0).uniform(6) + 0.2, Seed(1).uniform(6)
    result = compare(a, b)
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    assert result.p == pytest.approx(test.pvalue)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert result.mean == pytest.approx((a - b).mean())
    back = compare(b, a)
    assert (back.mean, back.low, back.p) == pytest.approx((-result.mean, -result.high, result.p))


def test_a_certain_difference():
    assert compare([0.5, 0.5], [0.5, 0.5]).p == 1
    assert compare([1.0, 2.0], [0.5, 1.5]).p == 0
    # Differences that vary by rounding only: no warning, and a p-value near 0.
    assert compare([0.9, 0.8, 0.7], [0.8, 0.7, 0.6]).p < 1e-9


@pytest.mark.parametrize(
    ("a", "b", "shapes"),
    [
        ([0.1], [0.2], r"\(1,\) and \(1,\)"),
        ([], [], r"\(0,\) and \(0,\)"),
        ([0.1, 0.2, 0.3], [0.1], r"\(3,\) and \(1,\)"),
        ([0.1, 0.2, 0.3], [0.1, 0.2], r"\(3,\) and \(2,\)"),
        ([[0.1, 0.2]], [[0.1, 0.2]], r"\(1, 2\) and \(1, 2\)"),
    ],
)
def test_a_comparison_needs_pairs(a, b, shapes):
    with pytest.raises(ValueError, match=rf"at least two seeds; got shapes {shapes}"):
        compare(a, b)


def test_holm_by_hand():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 which may not be below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_holm_keeps_the_order_and_is_never_lower():
    p = Seed(0).uniform(20)
    corrected = np.array(holm(p))
    assert (corrected >= p).all()
    assert corrected.max() <= 1
    assert np.all(np.diff(corrected[np.argsort(p)]) >= 0)


def test_holm_by_a_literal_loop():
    p = list(Seed(2).uniform(15) ** 3)
    p[3] = p[7]
    expected = []
    for mine in p:
        # The maximum of the scaled p-values up to this one.
        smaller = sorted(other for other in p if other <= mine)
        expected.append(min(1.0, max((15 - k) * q for k, q in enumerate(smaller))))
    assert holm(p) == pytest.approx(expected)


def test_kendall_counts_pairs():
    a, b = Seed(0).integers(12, 6), Seed(1).integers(12, 6)
    pairs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(12) for j in range(i)]
    agree = sum(x * y for x, y in pairs)
    untied = [sum(pair[side] != 0 for pair in pairs) for side in (0, 1)]
    assert kendall(a, b) == pytest.approx(agree / np.sqrt(np.prod(untied)))
    assert kendall(a, a) == pytest.approx(1)
    assert kendall(a, -a) == pytest.approx(-1)
    assert kendall([1, 1, 1], [1, 2, 3]) is None


def test_the_expected_best_is_that_of_all_draws():
    values = [0.3, -1.0, 0.7]
    found = expected_best(values)
    for n in (1, 2, 3):
        draws = itertools.product(values, repeat=n)
        assert found[n - 1] == pytest.approx(np.mean([max(draw) for draw in draws]))
    assert found[0] == pytest.approx(np.mean(values))
    assert np.all(np.diff(found) > 0)
    assert found[-1] < max(values)
    assert expected_best([0.4] * 5) == pytest.approx([0.4] * 5)


def test_the_front_is_the_pareto_front():
    for draw in range(50):
        costs, values = ((Seed(draw) / name).integers(30, 8) for name in ("costs", "values"))
        edge = pareto(costs.tolist(), values.tolist())
        best = {cost: values[costs <= cost].max() for cost in costs}
        wanted = sorted({(c, v) for c, v in zip(costs, values, strict=True) if v == best[c]})
        reached = [pair for n, pair in enumerate(wanted) if not n or pair[1] > wanted[n - 1][1]]
        assert [(costs[i], values[i]) for i in edge] == reached
    assert pareto([], []) == []
