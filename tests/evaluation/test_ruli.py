import numpy as np
import pytest
from scipy import stats

from rum_ray.errors import DataError
from rum_ray.evaluation import AttackResult, ruli, u_lira
from rum_ray.evaluation.ruli import vulnerable
from rum_ray.seeding import Seed

MODELS, EXAMPLES = 16, 61
ROOT = Seed(0) / "ruli"


def normal(name: str, *shape: int) -> np.ndarray:
    return (ROOT / name).normal(int(np.prod(shape))).reshape(shape)


FORGOTTEN = (ROOT / "in").uniform(MODELS * EXAMPLES).reshape(MODELS, EXAMPLES) < 0.5
FORGOTTEN[:2], FORGOTTEN[2:4] = True, False
HARD = 2 * normal("hard", EXAMPLES)
EFFECT = 4 * (ROOT / "effect").uniform(EXAMPLES)
NEVER = HARD + 0.5 * normal("never", MODELS, EXAMPLES)
TRAINED = NEVER + EFFECT * FORGOTTEN


def targets(residue: float, damage: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of an unlearned and a retrained model, and of shadow models after unlearning."""
    unlearned = HARD + residue * EFFECT - damage + 0.5 * normal("unlearned", EXAMPLES)
    retrained = HARD + 0.5 * normal("retrained", EXAMPLES)
    return unlearned, retrained, NEVER + residue * EFFECT * FORGOTTEN - damage


def test_it_is_a_likelihood_ratio_of_kernels_by_literal_loops():
    unlearned, retrained, shadows = targets(0.5)

    def separation(n: int) -> float:
        sides = [TRAINED[FORGOTTEN[:, n] == learned, n] for learned in (True, False)]
        means, variances = ([f(side) for side in sides] for f in (np.mean, lambda v: v.var(ddof=1)))
        return (means[0] - means[1]) / np.sqrt(sum(variances) / 2)

    def density(x: float, points: np.ndarray) -> float:
        return np.mean([stats.norm(point, 1.0).pdf(x) for point in points])

    def score(x: float, n: int) -> float:
        inside = density(x, shadows[FORGOTTEN[:, n], n])
        outside = density(x, TRAINED[~FORGOTTEN[:, n], n])
        return inside / (inside + outside)

    found = sorted(range(EXAMPLES), key=separation, reverse=True)[:31]
    assert list(vulnerable(TRAINED, FORGOTTEN)) == sorted(found)
    ours, theirs = ([score(x[n], n) for n in sorted(found)] for x in (unlearned, retrained))
    told = ruli(unlearned, retrained, shadows, FORGOTTEN, TRAINED)
    assert told == AttackResult.of(np.array(ours), np.array(theirs))
    assert told.auc > 0.6


def test_vulnerable_examples_are_those_with_the_largest_effect():
    found = vulnerable(TRAINED, FORGOTTEN)
    others = np.setdiff1d(np.arange(EXAMPLES), found)
    assert len(found) == 31
    assert EFFECT[found].mean() > 1.5 * EFFECT[others].mean()
    equal = np.tile([[1.0], [2.0], [0.0], [1.0]], (1, 5))
    assert list(vulnerable(equal, np.array([[1], [1], [0], [0]], bool).repeat(5, axis=1))) == [
        0,
        1,
        2,
    ]


def test_they_are_found_more_often_than_all_together():
    unlearned, retrained, shadows = targets(0.6)
    everything = u_lira(unlearned, retrained, shadows, FORGOTTEN)
    assert ruli(unlearned, retrained, shadows, FORGOTTEN, TRAINED).auc > everything.auc > 0.6


def test_it_sees_damage_that_u_lira_does_not():
    """A plan that lowers every example alike leaves shadows with and without an example alike."""
    unlearned, retrained, shadows = targets(0.0, damage=5.0)
    assert ruli(unlearned, retrained, shadows, FORGOTTEN, TRAINED).auc > 0.99
    assert abs(u_lira(unlearned, retrained, shadows, FORGOTTEN).auc - 0.5) < 0.2


def test_the_retrained_model_against_itself_is_chance():
    _, retrained, shadows = targets(0.0)
    assert ruli(retrained, retrained, shadows, FORGOTTEN, TRAINED).auc == 0.5


def test_far_logits_have_finite_scores():
    unlearned, retrained, shadows = targets(0.0)
    told = ruli(unlearned + 100, retrained - 100, shadows, FORGOTTEN, TRAINED)
    assert 0 <= told.auc <= 1


@pytest.mark.parametrize(("few", "role"), [(True, "have seen it"), (False, "trained without it")])
def test_each_example_needs_two_models(few, role):
    forgotten = FORGOTTEN.copy()
    forgotten[:, 5] = not few
    forgotten[0, 5] = few
    with pytest.raises(DataError, match=rf"2 models .* {role}; 1 of 61 examples"):
        ruli(HARD, HARD, TRAINED, forgotten, TRAINED)
