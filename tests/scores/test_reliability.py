import warnings

import numpy as np
import pytest
from reference import scores as reference
from scipy.stats import norm, rankdata, spearmanr

from rum_ray.errors import ScoreError
from rum_ray.scores import reliability
from rum_ray.scores.memorization import InOutCounts, PoolBits
from rum_ray.scores.reliability import (
    bootstrap_scores,
    correlation_interval,
    rank_correlation,
    split_half,
)
from rum_ray.seeding import Seed


def draw(name: str, *shape: int) -> np.ndarray:
    return (Seed(0) / name).uniform(int(np.prod(shape))).reshape(shape)


def halves(included: np.ndarray, correct: np.ndarray) -> list[InOutCounts]:
    return [InOutCounts.of(included[i::2], correct[i::2]) for i in (0, 1)]


def test_split_half_is_spearman_brown():
    included = draw("included", 40, 60) < 0.7
    correct = included | (draw("right", 40, 60) < np.linspace(0, 1, 60))
    even, odd = (reference.memorization(included[i::2], correct[i::2])[0] for i in (0, 1))
    r = spearmanr(even, odd).statistic
    assert 0.3 < r < 1
    assert split_half(*halves(included, correct)) == pytest.approx(2 * r / (1 + r))


def test_split_half_stays_in_its_range():
    included = np.array([[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    same = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert split_half(*halves(included, same)) == pytest.approx(1)
    opposite = same.copy()
    opposite[3] = ~opposite[3]
    assert split_half(*halves(included, opposite)) == pytest.approx(-1)


def test_rank_correlation_is_over_examples_with_both_scores():
    a = np.array([1.0, 2.0, np.nan, 4.0, 9.0])
    b = np.array([1.0, 3.0, 7.0, np.nan, 2.0])
    assert rank_correlation(a, b) == pytest.approx(spearmanr([1, 2, 9], [1, 3, 2]).statistic)


@pytest.mark.parametrize("ties", [2, 5, 1000])
def test_rank_correlation_is_scipys_with_ties_too(ties):
    a, b = np.floor(ties * draw("a", 50)), np.floor(ties * draw("b", 50))
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_a_constant_score_has_no_rank_correlation():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(rank_correlation(np.ones(4), np.arange(4)))


def literal_interval(runs, scores, seed, draws):
    """Draw examples, repeat them, rank them with scipy, correlate with NumPy, take percentiles."""
    means = []
    for d in range(draws):
        rows = (seed / d).integers(len(scores), len(scores))
        y = rankdata(scores[rows])
        means.append(np.mean([np.corrcoef(rankdata(run[rows]), y)[0, 1] for run in runs]))
    return np.percentile(means, [2.5, 97.5])


@pytest.mark.parametrize("cells", [1, 200, 1 << 20])
@pytest.mark.parametrize("ties", [4, 1000])
def test_the_interval_is_the_literal_bootstrap_for_any_block_size(ties, cells, monkeypatch):
    monkeypatch.setattr(reliability, "_CELLS", cells)
    scores = np.floor(ties * draw("scores", 60))
    runs = np.floor(ties * (0.5 * scores / ties + draw("noise", 2, 60)))
    interval = correlation_interval(runs, scores, Seed(5), draws=20)
    np.testing.assert_allclose(interval, literal_interval(runs, scores, Seed(5), 20), atol=1e-12)
    assert interval == correlation_interval(runs, scores, Seed(5), draws=20)
    assert interval[0] < np.mean([rank_correlation(run, scores) for run in runs]) < interval[1]
    assert interval != correlation_interval(runs, scores, Seed(6), draws=20)


def test_the_interval_has_its_nominal_coverage():
    # Of normal pairs with correlation r, Spearman's is 6 / pi * asin(r / 2).
    truth, covered = 6 / np.pi * np.arcsin(0.6 / 2), 0
    for trial in range(200):
        u, v = norm.ppf((Seed(1) / trial).uniform(160)).reshape(2, 80)
        low, high = correlation_interval([0.6 * u + 0.8 * v], u, Seed(trial), draws=200)
        covered += low <= truth <= high
    assert 0.88 < covered / 200 < 0.99


def test_the_interval_is_over_examples_known_to_all_runs():
    runs, scores = draw("runs", 2, 30), draw("s", 30)
    known = (runs[:, 5:], scores[5:])
    runs[0, :3], scores[3:5] = np.nan, np.nan
    assert correlation_interval(runs, scores, Seed(0)) == correlation_interval(*known, Seed(0))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(3), np.ones(4), r"shapes \(3,\) and \(4,\)"),
        (np.ones((3, 2)), np.ones(3), r"shapes \(3, 2\) and \(3,\)"),
        (np.full(3, np.nan), np.ones(3), r"none of 3 "),
        ([1.0, np.nan], [np.nan, 1.0], r"none of 2 "),
    ],
)
def test_correlations_without_common_examples_are_errors(a, b, message):
    with pytest.raises(ScoreError, match=message):
        rank_correlation(a, b)
    with pytest.raises(ScoreError, match=message):
        correlation_interval(np.asarray(a)[None], b, Seed(0))


def test_pools_are_drawn_with_replacement_from_the_models():
    included, correct = draw("i", 12, 7) < 0.5, draw("c", 12, 7) < 0.5
    pools = list(bootstrap_scores(PoolBits.of(included, correct), Seed(3), draws=4))
    words = Seed(3).words(4 * 12).astype(object) % 12
    for d, values in enumerate(pools):
        models = words[12 * d : 12 * (d + 1)].astype(int)
        expected, _ = reference.memorization(included[models], correct[models])
        np.testing.assert_allclose(values, expected, atol=1e-15)


def test_the_spread_over_pools_is_the_standard_error():
    included = draw("in", 200, 50) < 0.7
    correct = np.where(included, draw("p", 200, 50) < 0.9, draw("q", 200, 50) < 0.4)
    spread = np.std(list(bootstrap_scores(PoolBits.of(included, correct), Seed(0))), axis=0)
    errors = sum(halves(included, correct)[1:], start=halves(included, correct)[0]).scores()
    np.testing.assert_allclose(spread, errors.standard_errors, rtol=0.25)
