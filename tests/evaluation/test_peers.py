"""Forgotten against unseen rows: laws of the scores, and coverage of the intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.evaluation.mia import auc
from rum_ray.evaluation.peers import (
    OTHER_CLASS,
    PEERS,
    auc_interval,
    change_interval,
    peer_scores,
    share_interval,
    tpr_interval,
)
from rum_ray.seeding import Seed


def rows(seed: Seed, count: int, hard: float):
    """Logits, labels and difficulties; hard rows have lower logits that vary more."""
    difficulty = (seed / "difficulty").uniform(count) ** (1 / (1 + hard))
    labels = (seed / "labels").integers(count, 3)
    noise = (seed / "noise").normal(count)
    return 5 - 8 * difficulty + labels + (0.5 + difficulty) * noise, labels, difficulty


def areas(hard: float, matched: bool) -> np.ndarray:
    found = []
    for number in range(60):
        seed = Seed(number) / "peers"
        forgotten, unseen = rows(seed / "forgotten", 60, hard), rows(seed / "unseen", 400, 0.0)
        logits, labels, difficulty = zip(forgotten, unseen, strict=True)
        scores = peer_scores(logits, labels, difficulty if matched else None)
        found.append(auc(*scores))
    return np.array(found)


def test_rows_like_their_peers_are_at_chance_whatever_was_forgotten():
    for hard in (0.0, 4.0):
        assert abs(areas(hard, matched=True).mean() - 0.5) < 0.02
    # Without difficulty, forgotten rows that are hard look forgotten although nothing was done.
    assert areas(4.0, matched=False).mean() < 0.35


def test_learned_rows_stand_out():
    forgotten, unseen = rows(Seed(1) / "a", 60, 4.0), rows(Seed(1) / "b", 400, 0.0)
    logits, labels, difficulty = zip(forgotten, unseen, strict=True)
    scores = peer_scores((logits[0] + 3, logits[1]), labels, difficulty)
    assert auc(*scores) > 0.9


def test_the_peers_are_those_of_the_definition():
    forgotten, unseen = rows(Seed(2) / "a", 5, 0.0), rows(Seed(2) / "b", 200, 0.0)
    logits, labels, difficulty = zip(forgotten, unseen, strict=True)
    ours, others = peer_scores(logits, labels, difficulty)

    def score(logit, label, at, without):
        def far(row):
            return abs(difficulty[1][row] - at) + OTHER_CLASS * (labels[1][row] != label)

        near = sorted((row for row in range(200) if row != without), key=far)[:PEERS]
        x, y = difficulty[1][near], logits[1][near]
        slope, start = np.polyfit(x, y, 1)
        return (logit - slope * at - start) / (y - slope * x - start).std()

    for row in range(5):
        expected = score(logits[0][row], labels[0][row], difficulty[0][row], None)
        assert ours[row] == pytest.approx(expected)
    expected = score(logits[1][7], labels[1][7], difficulty[1][7], 7)
    assert others[7] == pytest.approx(expected)


def test_a_class_with_few_unseen_rows_is_compared_with_all():
    unseen, labels = np.arange(20.0), np.zeros(20, dtype=np.int64)
    ours, _ = peer_scores((np.array([5.0]), unseen), (np.array([1]), labels))
    assert ours[0] == pytest.approx((5 - unseen.mean()) / unseen.std())


def test_equal_logits_have_finite_scores():
    same, labels = np.full(20, 100.0), np.zeros(20, dtype=np.int64)
    scores = peer_scores((same[:3], same), (labels[:3], labels))
    assert all(np.isfinite(part).all() for part in scores)
    assert auc(*scores) == 0.5


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("m", "n"), [(10, 200), (40, 400)])
def test_the_interval_of_the_auc_covers(shift, m, n):
    from math import erf

    true = 0.5 * (1 + erf(shift / 2))
    inside = 0
    for number in range(300):
        seed = Seed(number) / "cover" / m
        low, high = auc_interval((seed / "targets").normal(m) + shift, (seed / "others").normal(n))[
            1:
        ]
        inside += low <= true <= high
    assert inside / 300 > 0.92


@given(st.integers(1, 200), st.data())
def test_intervals_hold_their_values(total, data):
    hits = data.draw(st.integers(0, total))
    share, low, high = share_interval(hits, total)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0
    before, after = np.arange(total) < hits, np.arange(total) < data.draw(st.integers(0, total))
    change, low, high = change_interval(before, after)
    assert change == pytest.approx(after.mean() - before.mean())
    assert -1 <= low < high <= 1
    assert low <= change <= high or total < 10


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.integers(1, 30))
def test_the_interval_of_any_auc_holds_it(values, n):
    targets = np.array(values, dtype=np.float64)
    value, low, high = auc_interval(targets, np.arange(n, dtype=np.float64))
    assert 0 <= low <= value <= high <= 1


def test_a_true_positive_rate_needs_enough_unseen_rows():
    targets = np.arange(10.0)
    assert tpr_interval(targets, np.arange(99.0), 0.01) is None
    share, low, high = tpr_interval(targets + 95, np.arange(100.0), 0.01)
    assert share == 0.6
    assert low < share < high
