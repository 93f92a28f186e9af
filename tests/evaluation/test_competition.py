import math

import numpy as np
import pytest

from rum_ray.errors import DataError
from rum_ray.evaluation import ATTACKS, forgetting_quality
from rum_ray.evaluation.competition import DELTA, LEAST_SEEDS, epsilons
from rum_ray.seeding import Seed


def normal(name: str, models: int, examples: int) -> np.ndarray:
    return (Seed(0) / name).normal(models * examples).reshape(models, examples)


def literal_epsilon(unlearned: list[float], retrained: list[float]) -> float:
    """The epsilon of one example: all attacks of both families, one after the other."""
    by_range = sorted((unlearned, retrained), key=lambda side: max(side) - min(side))
    if max(by_range[0]) - min(by_range[0]) < 0.01 * (max(by_range[1]) - min(by_range[1])):
        return math.inf
    by_median = sorted((retrained, unlearned), key=np.median, reverse=True)
    ends = [*sorted({*unlearned, *retrained}), math.inf]
    thresholds = [(end, math.inf) for end in ends]
    intervals = [(low, high) for low in ends for high in ends if low < high]
    found = [0.0]
    for (positive, negative), rules in ((by_median, thresholds), (by_range, intervals)):
        for low, high in rules:
            missed = sum(not low <= x < high for x in positive) / len(positive)
            alarms = sum(low <= x < high for x in negative) / len(negative)
            if missed == alarms == 0:
                return math.inf
            if missed and alarms:
                pairs = ((missed, alarms), (alarms, missed))
                found += [
                    math.log(1 - DELTA - one) - math.log(other)
                    for one, other in pairs
                    if one < 0.99
                ]
    return max(found)


@pytest.mark.parametrize("sizes", [(12, 12), (9, 14)])
@pytest.mark.parametrize(("shift", "width"), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.4), (4.0, 0.5)])
def test_epsilons_by_literal_loops(sizes, shift, width):
    u = shift + width * normal("unlearned", sizes[0], 8)
    r = normal("retrained", sizes[1], 8)
    r[:3] = u[:3]  # ties between the sides
    expected = [literal_epsilon(list(a), list(b)) for a, b in zip(u.T, r.T, strict=True)]
    np.testing.assert_allclose(epsilons(u, r), expected, rtol=1e-12)


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_the_epsilon_of_a_shift_by_some_models(shift):
    """Of evenly spaced models, the best threshold has one false negative and n - shift - 1 FP."""
    models = np.arange(30.0)[:, None]
    expected = math.log((shift + 1) / 30 - DELTA) - math.log(1 / 30)
    for pair in ((models + shift, models), (models, models + shift)):
        np.testing.assert_allclose(epsilons(*pair), expected, rtol=1e-12)


def test_the_same_models_have_epsilon_0_and_separate_ones_have_none():
    models = normal("models", 20, 5)
    assert np.array_equal(epsilons(models, models[::-1]), np.zeros(5))
    assert forgetting_quality(models, models[::-1]) == 1
    assert np.array_equal(epsilons(models + 100, models), np.full(5, np.inf))
    assert forgetting_quality(models + 100, models) == 0
    constant = np.ones((20, 2))
    assert np.array_equal(epsilons(constant, constant), [0, 0])
    assert np.array_equal(epsilons(constant, constant + 1), [np.inf, np.inf])


def test_a_peak_among_spread_models_is_separate():
    """No threshold tells it without one kind of errors only, so the ranges decide."""
    spread = np.arange(20.0)[:, None]
    assert epsilons(np.full((20, 1), 9.5), spread) == np.inf
    assert epsilons(spread, np.full((20, 1), 9.5)) == np.inf
    assert epsilons(9.5 + 0.02 * (spread - 9.5), spread) == np.inf
    # An interval around 13 of 20 peaked models holds one of the others.
    peaked = np.array([0.0, *np.linspace(8.5, 10.5, 18), 18.0])[:, None]
    expected = math.log(1 - DELTA - 7 / 20) - math.log(1 / 20)
    assert epsilons(peaked, spread) == pytest.approx(expected)


def test_each_bin_counts_half_of_the_one_before():
    models = np.arange(300.0)[:, None]
    told = {shift: forgetting_quality(models + shift, models) for shift in (0, 1, 2, 4, 9, 250)}
    for shift, quality in told.items():
        epsilon = float(epsilons(models + shift, models)[0])
        assert quality == 0.5 ** int(epsilon / 0.5)
    # log 299 is below 6, so the bins end there, and separate models are beyond.
    assert told[0] == 1
    assert told[250] == 0.5**11
    assert forgetting_quality(models + 300, models) == 0
    both = [np.hstack([models + shift for shift in pair]) for pair in ((0, 250), (0, 0))]
    assert forgetting_quality(*both) == (1 + 0.5**11) / 2


def test_it_is_smaller_for_a_larger_difference():
    u, r = normal("u", 60, 40), normal("r", 60, 40)
    told = [forgetting_quality(u + shift, r) for shift in (0.0, 0.5, 1.0, 2.0, 6.0)]
    assert told == sorted(told, reverse=True)
    assert told[0] > 0.01
    assert told[-1] < 0.001


@pytest.mark.parametrize(("models", "quality"), [(10, 0.16), (100, 0.07)])
def test_chance_tells_samples_of_one_distribution_apart(models, quality):
    """The figures of docs/protocol.md."""
    u, r = normal(f"u{models}", models, 200), normal(f"r{models}", models, 200)
    assert forgetting_quality(u, r) == pytest.approx(quality, abs=0.02)


def test_two_models_cannot_tell():
    """Two models a side have only rates of 0, 1 / 2 and 1: epsilon is 0 or infinite."""
    for side in ([0.0, 2.0], [1.0, 3.0], [5.0, 6.0]):
        assert epsilons(np.array(side)[:, None], np.array([[0.5], [2.5]])) in (0, np.inf)
    three = normal("three", 3, 4)
    assert forgetting_quality(three, three) == 1


@pytest.mark.parametrize("counts", [(2, 3), (3, 2), (1, 1)])
def test_fewer_than_three_models_are_an_error(counts):
    u, r = (np.zeros((count, 2)) for count in counts)
    with pytest.raises(DataError, match=rf"{counts[0]} unlearned and {counts[1]} retrained ones"):
        forgetting_quality(u, r)
    assert ATTACKS["forgetting_quality"].seeds == LEAST_SEEDS == 3
