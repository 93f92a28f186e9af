import re

import numpy as np
import pytest
from reference import scores as reference

from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import (
    InOutCounts,
    PoolBits,
    PoolCounter,
    SoftMemorization,
    included_rows,
    influence,
    memorization,
)
from rum_ray.seeding import Seed


def bits(name: str, *shape: int, p: float = 0.5) -> np.ndarray:
    draws = (Seed(0) / name).uniform(int(np.prod(shape)))
    return (draws < p).reshape(shape)


def pool(models: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    return bits("included", models, examples, p=0.7), bits("correct", models, examples, p=0.6)


def soft(included: np.ndarray, confidences: np.ndarray) -> Scores:
    found = SoftMemorization(included.shape[1])
    for model in zip(included, confidences, strict=True):
        found.add(*model)
    return found.scores()


@pytest.mark.parametrize("models", [1, 2, 5, 30])
def test_memorization_is_the_literal_estimate(models):
    included, correct = pool(models, 40)
    scores = memorization(included, correct)
    values, errors = reference.memorization(included, correct)
    np.testing.assert_allclose(scores.values, values, rtol=0, atol=1e-15)
    np.testing.assert_allclose(scores.standard_errors, errors, rtol=0, atol=1e-15)
    assert scores.name == "memorization"


def test_examples_without_models_on_both_sides_are_unknown():
    included = np.array([[1, 0, 1], [1, 0, 0]], dtype=bool)
    scores = memorization(included, np.ones((2, 3), dtype=bool))
    assert np.isnan(scores.values).tolist() == [True, True, False]
    assert np.isnan(scores.standard_errors).tolist() == [True, True, False]
    assert scores.values[2] == 0


def test_an_example_that_only_its_own_models_get_right_is_memorized():
    included = bits("included", 20, 5, p=0.7)
    assert memorization(included, included).values.tolist() == [1] * 5
    assert memorization(included, ~included).values.tolist() == [-1] * 5


def test_the_estimate_is_unbiased_and_its_error_is_right():
    # T11: each model is right with probability 0.9 if it saw the example, else 0.3.
    examples = 4000
    included = bits("in", 60, examples, p=0.7)
    correct = np.where(included, bits("p", 60, examples, p=0.9), bits("q", 60, examples, p=0.3))
    scores = memorization(included, correct)
    assert scores.values.mean() == pytest.approx(0.6, abs=0.006)
    spread = np.sqrt(np.mean(scores.standard_errors**2))
    assert scores.values.std() == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_soft_memorization_is_the_literal_estimate(dtype):
    included = bits("included", 30, 9, p=0.7)
    included[:, 3], included[:, 5] = True, False
    confidences = (Seed(0) / "p").uniform(30 * 9).reshape(30, 9).astype(dtype)
    scores = soft(included, confidences)
    expected = reference.soft_memorization(included, confidences)
    np.testing.assert_allclose(scores.values, expected, rtol=0, atol=1e-14)
    assert np.isnan(scores.values).nonzero()[0].tolist() == [3, 5]
    assert scores.name == "soft_memorization"


def test_soft_memorization_of_certain_models_is_memorization():
    included, correct = pool(30, 40)
    found = soft(included, correct.astype(np.float16))
    np.testing.assert_allclose(found.values, memorization(included, correct).values, atol=1e-15)


def test_soft_memorization_has_less_noise_than_memorization():
    included = bits("in", 60, 4000, p=0.7)
    chance = np.where(included, 0.9, 0.3) + 0.1 * (bits("sign", 60, 4000) - 0.5)
    correct = (Seed(0) / "right").uniform(chance.size).reshape(chance.shape) < chance
    hard, found = memorization(included, correct), soft(included, chance)
    assert found.values.mean() == pytest.approx(0.6, abs=0.002)
    assert found.values.std() < hard.values.std() / 5


@pytest.mark.parametrize("examples", [1, 7, 8, 40])
@pytest.mark.parametrize("models", [0, 1, 30, 255, 256, 1000])
def test_models_are_counted_one_by_one_in_any_order(models, examples):
    included, correct = pool(models, examples)
    packed = [np.packbits(bits, axis=1) for bits in (included, correct)]
    order = (Seed(0) / "order").permutation(models)
    for groups in (1, 2, 3):
        counter = PoolCounter(examples, groups)
        for m in order:
            counter.add(m % groups, packed[0][m], packed[1][m])
        counts = counter.counts()
        assert len(counts) == groups
        for group, found in enumerate(counts):
            expected = InOutCounts.of(included[group::groups], correct[group::groups])
            for name, values in vars(expected).items():
                assert np.array_equal(getattr(found, name), values)
        whole = sum(counts[1:], start=counts[0]).scores()
        expected = memorization(included, correct)
        assert whole.values.tobytes() == expected.values.tobytes()
        assert whole.standard_errors.tobytes() == expected.standard_errors.tobytes()


@pytest.mark.parametrize("examples", [1, 7, 8, 9, 40])
def test_packed_bits_are_the_arrays(examples):
    included, correct = pool(30, examples)
    bits = PoolBits.of(included, correct)
    assert len(bits) == 30
    for unpacked, whole in zip(bits.arrays(), (included, correct), strict=True):
        assert unpacked.dtype == bool
        assert np.array_equal(unpacked, whole)
    for parts, axis in ((bits.blocks(7), 0), (bits.columns(2), 1)):
        joined = [np.concatenate(part, axis=axis) for part in zip(*parts, strict=True)]
        assert np.array_equal(joined, (included, correct))
    for name, values in vars(InOutCounts.of(included, correct)).items():
        assert np.array_equal(getattr(bits.counts(), name), values)


def test_influence_is_the_literal_estimate():
    included, right = bits("included", 12, 9, p=0.7), bits("test", 12, 4)
    included[:, 3], included[:, 5] = True, False
    result = influence(included, right)
    assert (result.shape, result.dtype) == ((4, 9), np.float32)
    np.testing.assert_allclose(result, reference.influence(included, right), rtol=0, atol=1e-6)
    assert np.isnan(result).all(axis=0).nonzero()[0].tolist() == [3, 5]


def test_memorization_is_self_influence():
    included, correct = pool(30, 8)
    diagonal = np.diag(influence(included, correct))
    np.testing.assert_allclose(memorization(included, correct).values, diagonal, atol=1e-6)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 3)), ((3,), (3,)), ((2, 3, 4), (2, 3, 4))])
def test_bad_shapes(shapes):
    message = rf"included and correct .*{re.escape(str(shapes[0]))} and {re.escape(str(shapes[1]))}"
    with pytest.raises(ValueError, match=message):
        InOutCounts.of(*(np.zeros(shape, dtype=bool) for shape in shapes))


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((4,), (3,)), ((4,), (4, 1))])
def test_bad_shapes_of_confidences(shapes):
    with pytest.raises(ValueError, match=r"^included and \w+ .*\(4,\); got"):
        SoftMemorization(4).add(*map(np.zeros, shapes))


@pytest.mark.parametrize(
    ("included", "correct"), [((3, 4), (2, 5)), ((3,), (3, 4)), ((3, 4), (3,)), ((3, 4, 1), (3, 4))]
)
def test_bad_shapes_of_influence(included, correct):
    message = rf"correct_test .*{re.escape(str(included))} and {re.escape(str(correct))}"
    with pytest.raises(ValueError, match=message):
        influence(np.zeros(included, dtype=bool), np.zeros(correct, dtype=bool))


def test_included_rows_are_a_fraction_drawn_per_model():
    rows = included_rows(1000, 0.7, Seed(0) / "pool" / 3)
    assert len(rows) == len(np.unique(rows)) == 700
    assert np.array_equal(rows, np.sort(rows))
    assert np.array_equal(rows, included_rows(1000, 0.7, Seed(0) / "pool" / 3))
    other = included_rows(1000, 0.7, Seed(0) / "pool" / 4)
    assert len(np.intersect1d(rows, other)) == pytest.approx(490, abs=40)
