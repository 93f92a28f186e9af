import math

import numpy as np
import pytest
from scipy import stats

from rum_ray.evaluation import iam
from rum_ray.evaluation.iam import completeness
from rum_ray.seeding import Seed

EXAMPLES = 30


def normal(name: str, *shape: int) -> np.ndarray:
    return (Seed(0) / "iam" / name).normal(int(np.prod(shape))).reshape(shape)


ORIGINAL = 6 + normal("original", EXAMPLES)
HARD = 2 * normal("hard", EXAMPLES)
SHADOWS = HARD + normal("shadows", 5, EXAMPLES)


def literal(unlearned: np.ndarray, original: np.ndarray, shadows: np.ndarray) -> list[float]:
    """One example, one place and one shadow model after the other."""

    def signal(logit: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -math.log(0.01 - math.log(p + 1e-5))

    models, examples = range(len(shadows)), range(len(original))
    between = {
        k: [
            [(1 - k / 99) * signal(shadows[m][n]) + k / 99 * signal(original[n]) for n in examples]
            for m in models
        ]
        for k in range(99)
    }
    found = []
    for n in examples:
        learned = weights = 0.0
        for k, signals in between.items():
            scale = np.std([x for row in signals for x in row]) * math.sqrt(6) / math.pi
            location = np.mean([row[n] for row in signals]) - np.euler_gamma * scale
            learned += (k + 1) * stats.gumbel_r.cdf(signal(unlearned[n]), location, scale)
            weights += k + 1
        found.append(1 - learned / weights)
    return found


@pytest.mark.parametrize("models", [1, 5])
def test_it_is_its_formula_by_literal_loops(models):
    unlearned, shadows = HARD + 2 + normal("unlearned", EXAMPLES), SHADOWS[:models]
    expected = literal(unlearned, ORIGINAL, shadows)
    np.testing.assert_allclose(completeness(unlearned, ORIGINAL, shadows), expected, rtol=1e-9)
    assert iam(unlearned, ORIGINAL, shadows) == pytest.approx(np.mean(expected))


def test_it_rises_from_the_original_over_retrained_models_to_over_unlearning():
    retrained = HARD + normal("retrained", EXAMPLES)
    steps = [retrained + share * (ORIGINAL - retrained) for share in (1, 0.75, 0.5, 0.25, 0)]
    told = [iam(model, ORIGINAL, SHADOWS) for model in (*steps, retrained - 8)]
    assert told == sorted(told)
    assert told[0] < 0.1
    assert 0.9 < told[-2] < 0.99
    assert told[-1] > 0.999


def test_it_is_in_0_to_1_for_any_logits():
    for shift in (-300.0, -100.0, 100.0, 300.0):
        found = completeness(HARD + shift, ORIGINAL, SHADOWS)
        assert ((found >= 0) & (found <= 1)).all()


def test_a_constant_signal_has_a_width():
    flat = np.full(4, 1.0)
    above, below = (completeness(flat + by, flat, flat[None]) for by in (0.5, -0.5))
    np.testing.assert_allclose(above, 0, atol=1e-12)
    np.testing.assert_allclose(below, 1)
