import itertools

import numpy as np
import pytest

from rum_ray.evaluation import Accuracies, Evaluation
from rum_ray.search.objective import (
    INFEASIBLE,
    Judgement,
    Reference,
    agreement_floor,
    floor,
    judge,
)


def evaluation(forget: float, retain: float, test: float, mia: float, auc: float) -> Evaluation:
    return Evaluation(Accuracies(forget, retain, test), {}, mia, auc, {})


RETRAINED = [
    evaluation(0.2, 0.9, 0.8, 0.5, 0.50),
    evaluation(0.4, 1.0, 0.9, 0.7, 0.56),
    evaluation(0.3, 0.8, 1.0, 0.9, 0.56),
]


def test_a_reference_is_the_mean_of_the_retrained_models():
    reference = Reference.of(RETRAINED)
    means = [reference.accuracies.forget, reference.accuracies.retain, reference.accuracies.test]
    assert means == pytest.approx([0.3, 0.9, 0.9])
    assert (reference.mia, reference.auc) == pytest.approx((0.7, 0.54))


@pytest.mark.parametrize(("attack", "gap"), [("auc", 0.16), ("svm", 0.3)])
def test_j_is_tow_minus_the_gap_of_its_attack(attack, gap):
    judgement = judge(evaluation(0.5, 0.8, 0.85, 0.4, 0.7), Reference.of(RETRAINED))
    expected = 0.8 * 0.9 * 0.95
    assert judgement.tow == pytest.approx(expected)
    assert (judgement.auc_gap, judgement.svm_gap) == pytest.approx((0.16, 0.3))
    assert judgement.objective("tow_gap", attack) == pytest.approx(expected - gap)
    assert judgement.verdict("tow_gap") == pytest.approx(expected - 0.23)


def test_the_reference_itself_has_the_highest_objective():
    best = judge(RETRAINED[0], Reference.of(RETRAINED[:1]))
    assert best.objective("tow_gap", "auc") == best.objective("tow_gap", "svm") == 1
    assert best.verdict("tow_gap") == 1


SIZES = {"forget": 7, "retain": 20, "test": 11}


def predicting(seed: int) -> Evaluation:
    """An evaluation with random probabilities of four classes."""
    draws = np.random.default_rng(seed)
    p = {name: draws.dirichlet(np.ones(4), size).astype(np.float32) for name, size in SIZES.items()}
    y = {name: np.arange(size) % 4 for name, size in SIZES.items()}
    right = (float((p[name].argmax(axis=1) == y[name]).mean()) for name in SIZES)
    return Evaluation(Accuracies(*right), {}, 0.5, 0.5, p, labels=y)


def test_agreement_is_the_metric_tow_examples():
    unlearned, retrained = predicting(0), [predicting(seed) for seed in (1, 2, 3)]
    reference = Reference.of(retrained)
    own = np.mean([a.against(b)["tow_examples"] for a, b in itertools.combinations(retrained, 2)])
    with_it = np.mean([unlearned.against(each)["tow_examples"] for each in retrained])
    assert reference.own_agreement == pytest.approx(own)
    judgement = judge(unlearned, reference)
    assert judgement.examples == pytest.approx(1 + with_it - own)
    for attack in ("auc", "svm"):
        assert judgement.objective("examples", attack) == judgement.examples
    assert judgement.verdict("examples") == judgement.examples


def test_a_retrained_model_is_on_average_as_alike_as_the_others():
    retrained = [predicting(seed) for seed in range(5)]
    # Each against the others, and these against each other: the mean of both is the same.
    found = [judge(e, Reference.of([o for o in retrained if o is not e])) for e in retrained]
    assert np.mean([each.examples for each in found]) == pytest.approx(1)


def test_without_two_models_there_is_no_agreement():
    reference = Reference(Accuracies(0.5, 0.5, 0.5), 0.5, 0.5)
    assert reference.own_agreement is Reference.of([predicting(0)]).own_agreement is None
    assert judge(predicting(1), reference).examples is None


def test_the_floor_of_agreement_is_a_standard_error():
    rng, n, d = np.random.default_rng(0), 50, 0.3
    shares = rng.binomial(n, d, 20_000) / n
    one, two = np.zeros((2, n), dtype=int)
    two[: round(n * d)] = 1
    assert agreement_floor([{"test": one}, {"test": two}]) == pytest.approx(shares.std(), rel=0.03)
    assert agreement_floor([{"test": one}] * 3) == 0


def test_the_floor_of_few_pairs_is_the_largest_gap():
    assert floor(RETRAINED, "auc") == pytest.approx(0.06)
    assert floor(RETRAINED, "svm") == pytest.approx(0.4)
    answers = np.random.default_rng(0).uniform(size=8)
    many = [evaluation(0, 0, 0, 0, auc) for auc in answers]
    gaps = sorted(abs(a - b) for i, a in enumerate(answers) for b in answers[:i])
    # 5 % of 28 pairs: one may be larger.
    assert floor(many, "auc") == gaps[-2]


def test_no_objective_is_below_infeasible():
    worst = judge(evaluation(1, 0, 0, 1, 1), Reference(Accuracies(0, 1, 1), 0.0, 0.0))
    assert worst.objective("tow_gap", "auc") == worst.verdict("tow_gap") == INFEASIBLE
    for t, auc, svm, alike in np.random.default_rng(0).uniform(size=(50, 4)):
        judgement = Judgement(t, auc, svm, 2 * alike)
        assert judgement.verdict("tow_gap") >= INFEASIBLE
        assert judgement.objective("examples", "auc") >= INFEASIBLE


def test_a_judgement_is_stored_as_plain_values():
    for examples in (None, 0.9):
        judgement = Judgement(0.5, 0.25, 0.125, examples)
        assert Judgement.read({**judgement.plain(), "status": "complete"}) == judgement
