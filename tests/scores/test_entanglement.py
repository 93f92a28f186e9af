import numpy as np
import pytest
from reference import scores as reference

from rum_ray.scores.entanglement import Moments, entanglement_score
from rum_ray.seeding import Seed


def cloud(name: str, count: int, shift: float = 0.0) -> np.ndarray:
    return (Seed(0) / name).uniform(count * 5).reshape(count, 5) + shift


@pytest.mark.parametrize("center", ["midpoint", "pooled"])
@pytest.mark.parametrize("sizes", [(30, 7), (1, 1), (2, 50)])
def test_the_score_is_its_formula(center, sizes):
    retain, forget = cloud("retain", sizes[0]), cloud("forget", sizes[1], 0.3)
    expected = reference.entanglement_score(retain, forget, center)
    assert entanglement_score(retain, forget, center) == pytest.approx(expected, rel=1e-12)
    moments = Moments.of(retain), Moments.of(forget)
    assert entanglement_score(*moments, center=center) == entanglement_score(retain, forget, center)


def test_the_midpoint_is_the_default():
    retain, forget = cloud("retain", 20), cloud("forget", 5)
    midpoint, pooled = (entanglement_score(retain, forget, c) for c in ("midpoint", "pooled"))
    assert entanglement_score(retain, forget) == midpoint
    assert midpoint > pooled


def test_the_midpoint_denominator_is_a_quarter_of_the_squared_distance():
    retain, forget = Moments.of(cloud("retain", 20)), Moments.of(cloud("forget", 5, 1))
    spread = retain.scatter / 20 + forget.scatter / 5
    distance = float(((retain.mean - forget.mean) ** 2).sum())
    assert entanglement_score(retain, forget) == pytest.approx(spread / (distance / 4))


def test_the_two_centers_differ_by_a_known_factor():
    # Spec 4.2: with shares q of both sets, the pooled denominator is (q_S^2 + q_R^2) / 2 |gap|^2.
    retain, forget = cloud("retain", 42), cloud("forget", 3)
    factor = ((3 / 45) ** 2 + (42 / 45) ** 2) / 2 * 4
    midpoint, pooled = (entanglement_score(retain, forget, c) for c in ("midpoint", "pooled"))
    assert midpoint == pytest.approx(pooled * factor)


def test_further_apart_is_less_entangled():
    scores = [entanglement_score(cloud("r", 30), cloud("s", 30, shift)) for shift in (0.1, 1, 10)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("center", ["midpoint", "pooled"])
def test_equal_means_give_infinity(center):
    points = [[0.0, 1.0], [2.0, 1.0]]
    assert entanglement_score(points, [[1.0, 0.0], [1.0, 2.0]], center) == float("inf")


def test_moments():
    points = cloud("points", 9)
    moments = Moments.of(points)
    assert moments.count == 9
    np.testing.assert_allclose(moments.mean, points.mean(0))
    assert moments.scatter == pytest.approx(points.var(0).sum() * 9)
    one = Moments.of(points[:1])
    assert (one.count, one.scatter) == (1, 0)


def test_moments_of_an_empty_set_are_zero():
    none, some = Moments.of(np.empty((0, 5))), Moments.of(cloud("points", 4))
    for total in (none + some, some + none):
        assert (total.count, total.scatter) == (4, some.scatter)
        np.testing.assert_allclose(total.mean, some.mean)
    assert (none + none).count == 0


def test_moments_of_float32_are_summed_in_float64():
    points = (cloud("points", 5000) + 1000).astype(np.float32)
    moments = Moments.of(points)
    assert moments.mean.dtype == np.float64
    exact = points.astype(np.float64)
    assert moments.scatter == pytest.approx(((exact - exact.mean(0)) ** 2).sum(), rel=1e-12)


def test_empty_sets_and_unknown_centers_are_errors():
    with pytest.raises(ValueError, match=r"ES .* 0 and 3 embeddings"):
        entanglement_score(np.empty((0, 5)), cloud("points", 3))
    with pytest.raises(ValueError, match=r"ES .* 3 and 0 embeddings"):
        entanglement_score(cloud("points", 3), np.empty((0, 5)))
    with pytest.raises(ValueError, match=r"center .* 'midpoint' or 'pooled', got 'mean'"):
        entanglement_score(cloud("points", 3), cloud("points", 3), "mean")


def test_invalid_embeddings_are_errors():
    good, spoiled = cloud("a", 4), cloud("b", 4)
    spoiled[[0, 2], 1] = np.nan, np.inf
    wide = np.zeros((4, 6))
    for bad, message in (
        (spoiled, "ES .* finite .* 2 of 4"),
        (good[0], r"ES .* \[N, D\].* shape \(5,\)"),
        (wide, "ES .* D = [56] and [56]"),
        (Moments(4, np.full(5, np.nan), 1.0), "ES .* finite .* spread of 0.* nan"),
    ):
        for sets in ((bad, good), (good, bad)):
            with pytest.raises(ValueError, match=message):
                entanglement_score(*sets)
