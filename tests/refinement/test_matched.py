"""Surrogates of a forget set: the same classes, sizes and names, and the nearest scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.errors import ScoreError
from rum_ray.partition import Partition, Subset
from rum_ray.refinement.matched import matched
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed

SEED = Seed(3)


def parted(rows, names=("low", "high")):
    parts = zip(names, np.array_split(np.asarray(rows), len(names)), strict=True)
    return Partition(tuple(Subset(name, np.sort(part)) for name, part in parts))


@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([1, 3]))
def test_a_surrogate_has_the_same_classes_and_sizes_and_is_retained(draw, size, classes):
    root = Seed(draw)
    scores = Scores(np.round((root / "scores").uniform(300), 2))
    labels = (root / "labels").integers(300, classes)
    forget = parted((root / "forget").choice(300, size))
    ours = matched(forget, scores, labels, SEED)
    assert ours.names == forget.names
    assert not np.intersect1d(ours.rows, forget.rows).size
    for mine, theirs in zip(ours, forget, strict=True):
        assert sorted(labels[mine.rows]) == sorted(labels[theirs.rows])
    again = matched(forget, scores, labels, SEED)
    assert ours == again


def test_matches_have_the_nearest_scores_and_the_hardest_are_matched_first():
    #                  forgotten          retained
    values = np.array([0.9, 0.5, 0.1, 0.0, 0.12, 0.52, 0.55, 0.6, 0.95])
    ours = matched(parted([0, 1, 2], ("a", "b", "c")), Scores(values), np.zeros(9), SEED)
    assert [list(subset.rows) for subset in ours] == [[8], [5], [4]]
    scarce = np.array([0.9, 0.8, 0.7, 0.1])
    only = matched(parted([0, 1], ("a", "b")), Scores(scarce), np.zeros(4), SEED)
    assert [list(subset.rows) for subset in only] == [[2], [3]]


def test_matches_with_equal_scores_are_random():
    scores, labels = Scores(np.zeros(100)), np.zeros(100)
    drawn = [matched(parted(range(10)), scores, labels, Seed(k)).rows for k in range(20)]
    assert len({tuple(rows) for rows in drawn}) == 20
    assert np.mean(drawn) == pytest.approx(54.5, abs=6)


def test_a_surrogate_is_about_as_hard_as_the_forget_set():
    root = Seed(1)
    scores = Scores((root / "scores").uniform(2000))
    labels = (root / "labels").integers(2000, 10)
    forget = parted((root / "forget").choice(2000, 120))
    mine, theirs = matched(forget, scores, labels, SEED), forget
    for ours, other in zip(mine, theirs, strict=True):
        difference = scores.values[ours.rows].mean() - scores.values[other.rows].mean()
        assert abs(difference) < 0.01


def test_retain_examples_without_a_score_are_not_matched():
    values = np.array([0.5, np.nan, np.nan, 0.1, 0.3])
    ours = matched(parted([0, 1], ("a", "b")), Scores(values), np.zeros(5), SEED)
    assert set(ours.rows) == {3, 4}


def test_forgetting_a_whole_class_leaves_no_surrogate():
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    with pytest.raises(ScoreError, match=r"2 retain examples of class 1.* 1 have a score"):
        matched(parted([0, 1], ("a", "b")), Scores(np.arange(7.0)), labels, SEED)
