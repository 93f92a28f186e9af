import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from rum_ray.errors import DataError
from rum_ray.evaluation import jensen_shannon, klom
from rum_ray.seeding import Seed


def probabilities(name: str, count: int = 50, classes: int = 4) -> np.ndarray:
    p = (Seed(0) / name).uniform(count * classes).reshape(count, classes) ** 3
    return p / p.sum(axis=1, keepdims=True)


def test_jensen_shannon_is_scipys_in_bits():
    p, q = probabilities("p"), probabilities("q")
    p[0], q[0] = [1, 0, 0, 0], [0.5, 0.5, 0, 0]
    expected = [jensenshannon(a, b, base=2) ** 2 for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(jensen_shannon(p, q), expected, atol=1e-12)
    np.testing.assert_allclose(jensen_shannon(p, q), jensen_shannon(q, p), atol=1e-12)


def test_jensen_shannon_at_its_ends():
    sure = np.eye(3, dtype=np.float32)
    assert np.array_equal(jensen_shannon(sure, sure), [0, 0, 0])
    assert np.array_equal(jensen_shannon(sure, sure[[1, 2, 0]]), [1, 1, 1])


def literal_klom(unlearned: list[float], retrained: list[float]) -> float:
    """KLoM of one example, bin by bin."""
    u, r = ([min(max(v, -100), 100) for v in group] for group in (unlearned, retrained))
    low, high = min(u + r), max(u + r)
    edges = [low + (high - low) * k / 20 for k in range(21)]
    total = 0.0
    for k in range(20):

        def inside(v: float, k: int = k) -> bool:
            return edges[k] <= v < edges[k + 1] or (k == 19 and v == high)

        p, q = (sum(map(inside, group)) / len(group) for group in (u, r))
        if p:
            total += p * math.log(p / max(q, 1e-5))
    return total


def test_klom_by_hand():
    margins = 4 * Seed(0).uniform(30 * 12).reshape(30, 12)
    others = 1 + 4 * Seed(1).uniform(25 * 12).reshape(25, 12)
    margins[3, 5], others[4, 6] = 700.0, -700.0
    expected = [literal_klom(list(u), list(r)) for u, r in zip(margins.T, others.T, strict=True)]
    np.testing.assert_allclose(klom(margins, others), expected, rtol=1e-9)


def test_klom_is_zero_for_the_same_models_and_large_for_different_ones():
    margins = Seed(0).uniform(20 * 3).reshape(20, 3)
    assert np.array_equal(klom(margins, margins[::-1]), [0, 0, 0])
    constant = np.ones((20, 2))
    assert np.array_equal(klom(constant, constant), [0, 0])
    # All unlearned models in one bin that no retrained one is in.
    np.testing.assert_allclose(klom(constant + 9, constant), np.log(1e5))


@pytest.mark.parametrize("counts", [(19, 20), (20, 3)])
def test_klom_needs_as_many_models_as_bins(counts):
    u, r = (np.zeros((count, 2)) for count in counts)
    with pytest.raises(DataError, match=rf"{counts[0]} unlearned and {counts[1]} retrained ones"):
        klom(u, r)
