import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rum_ray.errors import DataError
from rum_ray.evaluation import AttackResult, PoolEvidence, pool_lira, pool_rmia, u_lira
from rum_ray.evaluation.pool import lira_scores, rmia_scores, tpr_at
from rum_ray.seeding import Seed

MODELS = 16


def normal(seed: Seed, *shape: int) -> np.ndarray:
    return stats.norm.ppf(seed.uniform(math.prod(shape)) * 0.998 + 0.001).reshape(shape)


def examples(name: str, count: int, learned: float, share: float = 0.5) -> PoolEvidence:
    """Examples of different difficulty; `learned` is the effect of training on the attacked model.

    What a model learned has a logit that is 3 higher; what it did not is as hard as it is.
    """
    seed = Seed(0) / name
    hard = 2 * normal(seed / "hard", count)
    included = (seed / "in").uniform(MODELS * count).reshape(MODELS, count) < share
    included[:2], included[2:4] = share > 0, False
    pool = hard + 3 * included + 0.5 * normal(seed / "pool", MODELS, count)
    return PoolEvidence(hard + learned + 0.5 * normal(seed / "model", count), pool, included)


TARGETS, UNSEEN = examples("targets", 60, 3.0), examples("unseen", 200, 0.0, share=0.0)


def test_lira_is_the_paper_s_by_literal_loops():
    scores = lira_scores(TARGETS)
    for n in range(60):
        out = [TARGETS.pool[m, n] for m in range(MODELS) if not TARGETS.included[m, n]]
        normal_ = stats.norm(np.mean(out), np.std(out, ddof=1))
        assert stats.norm.cdf(scores[n]) == pytest.approx(normal_.cdf(TARGETS.logits[n]))


def test_lira_ignores_models_trained_with_the_example():
    wild = replace(TARGETS, pool=np.where(TARGETS.included, 99.0, TARGETS.pool))
    assert np.array_equal(lira_scores(wild), lira_scores(TARGETS))
    assert np.array_equal(rmia_scores(wild, UNSEEN), rmia_scores(TARGETS, UNSEEN))


def test_rmia_is_the_paper_s_by_literal_loops():
    def ratio(data: PoolEvidence, n: int) -> float:
        def p(logit: float) -> float:
            return 1 / (1 + math.exp(-logit))

        out = [p(data.pool[m, n]) for m in range(MODELS) if not data.included[m, n]]
        p_out = sum(out) / len(out)
        p_in = 0.3 * p_out + 0.7
        return p(data.logits[n]) / ((p_out + p_in) / 2)

    scores = rmia_scores(TARGETS, UNSEEN)
    population = [ratio(UNSEEN, z) for z in range(200)]
    for n in range(60):
        beaten = [ratio(TARGETS, n) / r >= 2 for r in population]
        assert scores[n] == pytest.approx(np.mean(beaten), abs=0.0051)
    assert np.mean(scores) > 0.1


def test_pool_attacks_separate_examples_that_one_threshold_cannot():
    plain = AttackResult.of(TARGETS.logits, UNSEEN.logits).auc
    for attack in (pool_lira, pool_rmia):
        told = attack(TARGETS, UNSEEN)
        assert told.auc > plain
        assert told.auc > 0.85
        # A model that never saw the targets reveals nothing.
        never = attack(replace(TARGETS, logits=TARGETS.logits - 3), UNSEEN)
        assert abs(never.auc - 0.5) < 0.1
    assert pool_lira(TARGETS, UNSEEN).tpr[0.01] > 0.3


def test_rates_by_brute_force():
    targets, others = normal(Seed(0), 80) + 1, normal(Seed(1), 300)
    others[:50] = others[50]
    for rate in (0.01, 0.1, 0.5):
        best = 0.0
        for threshold in [*others, -math.inf]:
            if np.mean(others > threshold) <= rate + 1e-12:
                best = max(best, np.mean(targets > threshold))
        assert tpr_at(targets, others, rate) == best
    assert tpr_at(targets, others, 0.001) is None
    assert tpr_at(targets, np.arange(1000.0), 0.001) == 0


def test_a_result_has_the_auc_and_both_rates():
    result = AttackResult.of(np.array([2.0, 3.0]), np.linspace(0, 1, 100))
    assert result == AttackResult(1.0, {0.01: 1.0, 0.001: None})
    for pair in (([], [1.0]), ([1.0], [])):
        with pytest.raises(DataError, match=f"non-member; got {len(pair[0])} and {len(pair[1])}"):
            AttackResult.of(*map(np.array, pair))


def shadows(residue: float) -> tuple[np.ndarray, np.ndarray]:
    """Shadow models after a plan that leaves a residue of the learned examples."""
    forgotten = (Seed(3) / "in").uniform(MODELS * 60).reshape(MODELS, 60) < 0.5
    forgotten[:2], forgotten[2:4] = True, False
    noise = 0.5 * normal(Seed(3) / "noise", MODELS, 60)
    hard = 2 * normal(Seed(0) / "targets" / "hard", 60)
    return hard + residue * forgotten + noise, forgotten


def test_u_lira_is_a_likelihood_ratio_by_literal_loops():
    logits, forgotten = shadows(1.0)
    hard = 2 * normal(Seed(0) / "targets" / "hard", 60)
    unlearned, retrained = (
        hard + shift + 0.5 * normal(Seed(4) / str(shift), 60) for shift in (1.0, 0.0)
    )

    def score(x: float, n: int) -> float:
        sides = (logits[forgotten[:, n], n], logits[~forgotten[:, n], n])
        inside, outside = (stats.norm(v.mean(), v.std(ddof=1)).logpdf(x) for v in sides)
        return inside - outside

    ours, theirs = ([score(x, n) for n, x in enumerate(g)] for g in (unlearned, retrained))
    told = u_lira(unlearned, retrained, logits, forgotten)
    assert told == AttackResult.of(np.array(ours), np.array(theirs))
    assert told.auc > 0.8


def test_u_lira_of_the_retrained_model_itself_is_chance():
    logits, forgotten = shadows(2.0)
    model = TARGETS.logits
    assert u_lira(model, model, logits, forgotten).auc == 0.5


def test_a_nan_score_is_an_error():
    unknown = replace(UNSEEN, logits=np.where(np.arange(len(UNSEEN.logits)) < 2, np.nan, 0.0))
    with pytest.raises(DataError, match=r"^2 scores .* NaN"):
        pool_lira(TARGETS, unknown)


def test_each_example_needs_two_models():
    one = TARGETS.included.copy()
    one[:, 7] = True
    one[0, 7] = False
    few = replace(TARGETS, included=one)
    message = r"2 models .* trained without it; 1 of 60 examples .*score\.models"
    for attack in (pool_lira, pool_rmia):
        with pytest.raises(DataError, match=message):
            attack(few, UNSEEN)
    logits, _ = shadows(1.0)
    with pytest.raises(DataError, match=r"2 models .* forgot it; 1 of 60 examples"):
        u_lira(TARGETS.logits, TARGETS.logits, logits, ~one)


def test_shapes_that_differ_are_an_error():
    with pytest.raises(DataError, match=r"pool and included .*\(\d+, 5\).* 60 examples"):
        replace(TARGETS, pool=TARGETS.pool[:, :5])


def test_nonmembers_compared_with_equally_many_models_give_the_nominal_rate():
    """Targets are like non-members here, so 1 % of them pass a rate of 1 %."""
    root, (models, examples) = Seed(0) / "null", (16, 20_000)
    included = (root / "included").uniform(models * examples).reshape(models, examples) < 0.7
    included = included[:, (~included).sum(axis=0) >= 2]

    def draw(name: str, mask: np.ndarray) -> PoolEvidence:
        pool = (root / name / "pool").normal(mask.size).reshape(mask.shape)
        return PoolEvidence((root / name).normal(mask.shape[1]), pool, mask)

    def rate(mask: np.ndarray) -> float:
        return pool_lira(draw("targets", included), draw("others", mask)).tpr[0.01]

    assert 0.007 < rate(included) < 0.014
    assert rate(np.zeros_like(included)) > 0.02
