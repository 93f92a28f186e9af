import tracemalloc

import numpy as np
import pytest
from reference import scores as reference
from scipy.spatial.distance import pdist

from rum_ray import mmd
from rum_ray.scores import discrepancy
from rum_ray.scores.discrepancy import Waves, frequencies, median_gamma, streamed_mmd
from rum_ray.seeding import Seed


def cloud(name: str, count: int, shift: float = 0.0, width: int = 5) -> np.ndarray:
    return (Seed(0) / name).uniform(count * width).reshape(count, width) + shift


@pytest.mark.parametrize("gamma", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("sizes", [(30, 7), (1, 1), (2, 23)])
def test_mmd_is_its_formula(monkeypatch, gamma, sizes):
    monkeypatch.setattr(discrepancy, "BLOCK", 4)
    retain, forget = cloud("retain", sizes[0]), cloud("forget", sizes[1], 0.3)
    expected = reference.mmd(retain, forget, gamma)
    assert mmd(retain, forget, gamma) == pytest.approx(expected, rel=1e-10)
    assert mmd(forget, retain, gamma) == pytest.approx(expected, rel=1e-10)


def test_gamma_is_one_by_default():
    retain, forget = cloud("retain", 9), cloud("forget", 5, 0.3)
    assert mmd(retain, forget) == mmd(retain, forget, 1.0) != mmd(retain, forget, 2.0)


def test_the_median_is_that_of_all_distances():
    retain, forget = cloud("retain", 20), cloud("forget", 6, 1)
    both = np.concatenate([retain, forget])
    gamma = 1 / (2 * np.median(pdist(both)) ** 2)
    # Of 325 distances the median is one of them, so squares have the same median.
    assert median_gamma(both) == pytest.approx(gamma, rel=1e-9)
    assert mmd(retain, forget, "median") == pytest.approx(mmd(retain, forget, gamma), rel=1e-9)


def test_the_median_of_a_large_set_is_that_of_a_sample(monkeypatch):
    points = cloud("points", 400)
    exact = median_gamma(points)
    monkeypatch.setattr(discrepancy, "SAMPLE", 200)
    drawn = median_gamma(points, Seed(1))
    assert drawn == median_gamma(points, Seed(1)) != median_gamma(points, Seed(2))
    assert drawn == pytest.approx(exact, rel=0.1)


def test_the_median_bandwidth_makes_mmd_invariant_to_scale_and_shift():
    retain, forget = cloud("retain", 20), cloud("forget", 6, 0.2)
    moved = mmd(100 * retain - 7, 100 * forget - 7, "median")
    assert moved == pytest.approx(mmd(retain, forget, "median"), rel=1e-9)


def test_mmd_does_not_lose_digits_far_from_the_origin():
    retain, forget = cloud("retain", 20), cloud("forget", 6, 0.2)
    assert mmd(retain + 1e6, forget + 1e6) == pytest.approx(mmd(retain, forget), rel=1e-6)


def test_equal_sets_have_distance_0_and_far_sets_reach_the_bounds():
    points = cloud("points", 12)
    assert mmd(points, points) == 0
    assert mmd(np.zeros((4, 2)), np.full((3, 2), 1e3)) == pytest.approx(np.sqrt(2))
    # Embeddings of a set are far apart too: only the kernel of each with itself remains (spec 4.4).
    assert mmd(1e4 * points, 1e4 * points[:3] + 9e6) == pytest.approx(np.sqrt(1 / 12 + 1 / 3))
    assert median_gamma(np.zeros((3, 2))) == 1.0


def test_the_full_kernel_is_never_in_memory():
    retain, forget = cloud("retain", 5000), cloud("forget", 1000)
    tracemalloc.start()
    mmd(retain, forget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 5000 * 8 / 4


def test_invalid_sets_and_gammas_are_errors():
    for sets in (([], cloud("a", 3)), (cloud("a", 3), cloud("b", 3, width=2)), ([1.0], [2.0])):
        with pytest.raises(ValueError, match=r"MMD .* \[N, D\].* shapes? \("):
            mmd(*sets)
    for value in (np.nan, np.inf):
        spoiled = cloud("a", 3)
        spoiled[1, 0] = value
        for sets in ((spoiled, cloud("b", 3)), (cloud("b", 3), spoiled)):
            with pytest.raises(ValueError, match=r"MMD .* finite .* 1 of 3"):
                mmd(*sets)
    for gamma in (0, -1, float("nan"), "mean"):
        with pytest.raises(ValueError, match=f"gamma .* positive or 'median', got {gamma!r}"):
            mmd(cloud("a", 3), cloud("b", 3), gamma)
    with pytest.raises(ValueError, match=r"MMD .* 0 and 3 embeddings"):
        waves = frequencies(4, 5, 1.0, Seed(0))
        streamed_mmd(Waves.of(np.empty((0, 5)), waves), Waves.of(cloud("a", 3), waves))


@pytest.mark.parametrize("gamma", [0.05, 1.0])
def test_the_error_bar_of_waves_has_the_exact_value(gamma):
    retain, forget = cloud("retain", 60), cloud("forget", 20, 0.4)
    exact, inside, widths = mmd(retain, forget, gamma), 0, []
    for root in range(100):
        waves = frequencies(200, 5, gamma, Seed(root))
        value, half = streamed_mmd(Waves.of(retain, waves), Waves.of(forget, waves))
        inside += abs(value - exact) <= half
        widths.append(half)
    # 95 of 100, give or take three standard deviations of a binomial.
    assert 88 <= inside <= 100
    assert max(widths) < 0.25 * exact


def test_more_waves_come_closer():
    retain, forget = cloud("retain", 60), cloud("forget", 20, 0.4)
    halves = []
    for count in (100, 10_000):
        waves = frequencies(count, 5, 1.0, Seed(0))
        halves.append(streamed_mmd(Waves.of(retain, waves), Waves.of(forget, waves))[1])
    assert halves[1] == pytest.approx(halves[0] / 10, rel=0.2)
    assert streamed_mmd(Waves.of(retain, waves), Waves.of(retain, waves)) == (0.0, 0.0)


def test_waves_add():
    waves, points = frequencies(7, 5, 1.0, Seed(0)), cloud("points", 11)
    parts = [Waves.of(part, waves) for part in (points[:4], points[4:], points[:0])]
    total = parts[0] + parts[1] + parts[2]
    assert total.count == 11
    expected = [[sum(f(w @ p) for p in points) for w in waves] for f in (np.cos, np.sin)]
    np.testing.assert_allclose(total.sums, expected, rtol=1e-12)
