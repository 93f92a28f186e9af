import numpy as np
import pytest

from rum_ray.evaluation import Accuracies, Evaluation
from rum_ray.search.objective import INFEASIBLE, Judgement, Reference, floor, judge


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
def test_judge_is_tow_minus_the_gap_of_its_attack(attack, gap):
    unlearned = evaluation(0.5, 0.8, 0.85, 0.4, 0.7)
    judgement = judge(unlearned, Reference.of(RETRAINED), attack)
    assert judgement.tow == pytest.approx(0.8 * 0.9 * 0.95)
    assert judgement.gap == pytest.approx(gap)
    assert judgement.objective == pytest.approx(0.8 * 0.9 * 0.95 - gap)


def test_the_reference_itself_has_the_highest_objective():
    [best] = [judge(e, Reference.of([e]), "auc") for e in RETRAINED[:1]]
    assert best.objective == 1


def test_the_floor_of_few_pairs_is_the_largest_gap():
    assert floor(RETRAINED, "auc") == pytest.approx(0.06)
    assert floor(RETRAINED, "svm") == pytest.approx(0.4)
    answers = np.random.default_rng(0).uniform(size=8)
    many = [evaluation(0, 0, 0, 0, auc) for auc in answers]
    gaps = sorted(abs(a - b) for i, a in enumerate(answers) for b in answers[:i])
    # 5 % of 28 pairs: one may be larger.
    assert floor(many, "auc") == gaps[-2]


def test_no_objective_is_below_infeasible():
    worst = judge(evaluation(1, 0, 0, 1, 1), Reference(Accuracies(0, 1, 1), 0.0, 0.0), "auc")
    assert worst.objective == INFEASIBLE == Judgement(0, 1).objective
    draws = np.random.default_rng(0).uniform(size=(50, 2))
    assert all(Judgement(t, g).objective >= INFEASIBLE for t, g in draws)
