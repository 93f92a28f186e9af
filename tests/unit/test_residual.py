import numpy as np
import pytest

from rum_ray.evaluation.residual import representation_residual
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed


def cloud(name: str, count: int, shift: float = 0.0) -> np.ndarray:
    return (Seed(0) / name).normal(count * 4).reshape(count, 4) + shift


RETAIN, SUBSET = cloud("retain", 50), cloud("subset", 20, 0.7)


def pair(retain, subset):
    return Moments.of(retain), Moments.of(subset)


def test_the_residual_is_its_formula():
    others = cloud("other retain", 50), 2 * cloud("other subset", 20)
    places = []
    for retain, subset in ((RETAIN, SUBSET), others):
        sigma = np.sqrt(np.mean([np.linalg.norm(p - retain.mean(0)) ** 2 for p in retain]))
        width = np.sqrt(np.mean([np.linalg.norm(p - subset.mean(0)) ** 2 for p in subset]))
        places.append([np.linalg.norm(subset.mean(0) - retain.mean(0)) / sigma, width / sigma])
    expected = np.hypot(*np.subtract(*places))
    found = representation_residual(pair(RETAIN, SUBSET), pair(*others))
    assert found == pytest.approx(expected, rel=1e-12)
    assert found == representation_residual(pair(*others), pair(RETAIN, SUBSET)) > 0.5


def test_moving_turning_and_scaling_a_model_leaves_nothing():
    turn = np.linalg.qr((Seed(0) / "turn").normal(16).reshape(4, 4))[0]
    moved = [3.7 * points @ turn - 11 for points in (RETAIN, SUBSET)]
    residual = representation_residual(pair(RETAIN, SUBSET), pair(*moved))
    assert residual == pytest.approx(0, abs=1e-12)


def test_a_width_of_its_own_does_not_matter():
    wider = [np.hstack([points, np.zeros((len(points), 3))]) for points in (RETAIN, SUBSET)]
    residual = representation_residual(pair(RETAIN, SUBSET), pair(*wider))
    assert residual == pytest.approx(0, abs=1e-12)


def test_it_grows_with_the_shift_and_with_the_spread():
    shifts = [
        representation_residual(pair(RETAIN, SUBSET), pair(RETAIN, SUBSET + x)) for x in range(4)
    ]
    assert shifts == sorted(shifts)
    centre = SUBSET.mean(axis=0)
    wide = [pair(RETAIN, centre + x * (SUBSET - centre)) for x in (1, 2, 3)]
    spreads = [representation_residual(pair(RETAIN, SUBSET), other) for other in wide]
    assert spreads[0] == pytest.approx(0, abs=1e-12)
    assert spreads[2] == pytest.approx(2 * spreads[1])


def test_errors():
    for retain, subset in ((RETAIN[:0], SUBSET), (RETAIN, SUBSET[:0]), (RETAIN[:1], SUBSET)):
        with pytest.raises(ValueError, match="a residual needs two sets, and a retain set with"):
            representation_residual(pair(retain, subset), pair(RETAIN, SUBSET))
