import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rum_ray.scores.entanglement import Moments, entanglement_score
from rum_ray.scores.memorization import InOutCounts, memorization

NUMBERS = st.integers(-1000, 1000).map(lambda n: n / 10)


def matrix(kind, rows, columns):
    return arrays.arrays(
        kind, (rows, columns), elements=NUMBERS if kind is float else st.booleans()
    )


@st.composite
def pools(draw):
    """included and correct [M, N], and a split of the models into parts in any order."""
    models, examples = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    bits = [draw(matrix(bool, models, examples)) for _ in range(2)]
    order = draw(st.permutations(range(models)))
    cuts = sorted(draw(st.lists(st.integers(0, models), max_size=3)))
    return *bits, [np.array(part, dtype=int) for part in np.split(order, cuts)]


@given(pools())
def test_counts_of_any_parts_in_any_order_add_up_exactly(pool):
    included, correct, parts = pool
    whole = InOutCounts.of(included, correct)
    total = InOutCounts.of(included[:0], correct[:0])
    for rows in parts:
        total = total + InOutCounts.of(included[rows], correct[rows])
    for name in ("seen", "seen_right", "unseen", "unseen_right"):
        assert np.array_equal(getattr(total, name), getattr(whole, name))
        assert getattr(total, name).dtype == np.int64
    assert np.array_equal(total.scores().values, whole.scores().values, equal_nan=True)


@given(pools())
def test_memorization_is_antisymmetric_and_bounded(pool):
    included, correct, _ = pool
    scores = memorization(included, correct)
    known = np.isfinite(scores.values)
    assert np.array_equal(known, included.any(axis=0) & ~included.all(axis=0))
    assert (np.abs(scores.values[known]) <= 1).all()
    np.testing.assert_allclose(memorization(~included, correct).values, -scores.values)
    np.testing.assert_allclose(memorization(included, ~correct).values, -scores.values, atol=1e-15)


@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_moments_of_any_parts_add_up(data, count, width):
    points = data.draw(matrix(float, count, width))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=4)))
    parts = [Moments.of(part) for part in np.split(points, cuts)]
    total = sum(data.draw(st.permutations(parts)), start=Moments.of(points[:0]))
    whole = Moments.of(points)
    assert total.count == whole.count
    np.testing.assert_allclose(total.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(total.scatter, whole.scatter, atol=1e-6)


@given(st.data(), st.sampled_from(["midpoint", "pooled"]))
def test_translation_rotation_and_scaling_leave_the_entanglement_score(data, center):
    retain, forget = (data.draw(matrix(float, data.draw(st.integers(2, 6)), 3)) for _ in range(2))
    retain = retain + np.array([300, 0, 0])  # the means are apart
    score = entanglement_score(retain, forget, center)
    shift = data.draw(arrays.arrays(float, 3, elements=NUMBERS))
    rotation = np.linalg.qr(np.eye(3) + data.draw(matrix(float, 3, 3)))[0]
    scale = data.draw(st.sampled_from([-3.0, 0.01, 1000.0]))
    for change in (lambda x: x + shift, lambda x: x @ rotation, lambda x: x * scale):
        np.testing.assert_allclose(
            entanglement_score(change(retain), change(forget), center), score, rtol=1e-9, atol=1e-12
        )


@given(st.data())
def test_the_midpoint_score_treats_both_sets_alike(data):
    one, other = (data.draw(matrix(float, 4, 2)) for _ in range(2))
    score = entanglement_score(one + 300, other)
    np.testing.assert_allclose(entanglement_score(other, one + 300), score)
    order = data.draw(st.permutations(range(4)))
    np.testing.assert_allclose(entanglement_score((one + 300)[order], other), score)
