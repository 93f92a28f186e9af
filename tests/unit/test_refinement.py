import numpy as np
import pytest

from rum_ray.errors import PlanError, ScoreError
from rum_ray.refinement import REFINERS, ByScore, Shuffle, forget_set, refine
from rum_ray.scores import Scores

SCORES = Scores([0.5, 0.1, 0.9, 0.4, 0.0, 1.0, 0.45, 0.8, 0.2, 0.7], name="mine")


@pytest.mark.parametrize(
    ("pick", "size", "rows"),
    [
        ("low", 3, [1, 4, 8]),
        ("high", 3, [2, 5, 7]),
        ("medium", 3, [0, 3, 6]),
        ("spread", 3, [0, 4, 5]),
        ("spread", 6, [0, 1, 2, 4, 5, 6]),
        ("spread", 4, [0, 1, 4, 5]),  # the rest goes to low,
        ("spread", 5, [0, 1, 4, 5, 6]),  # then to medium
        ("spread", 1, [4]),
        ("spread", 2, [0, 4]),
        ("low", 9, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
    ],
)
def test_picks(pick, size, rows):
    chosen = forget_set(SCORES, size, pick)
    assert chosen.tolist() == rows
    assert chosen.dtype == np.int64


def test_middles():
    scores = Scores([0.0, 0.01, 0.02, 0.05, 0.06, 0.4, 0.9])
    assert forget_set(scores, 1, "medium", "half").tolist() == [5]
    assert forget_set(scores, 1, "medium", "median").tolist() == [3]
    assert forget_set(scores, 3, "medium", "half").tolist() == [4, 5, 6]
    assert forget_set(scores, 3, "medium", "median").tolist() == [2, 3, 4]
    # Two before and two after the three in the middle of seven.
    assert forget_set(scores, 3, "medium", "rank").tolist() == [2, 3, 4]
    assert forget_set(scores, 2, "medium", "rank").tolist() == [2, 3]
    skewed = Scores([0.0, 0.0, 0.1, 0.2, 0.9, 1.0])
    assert forget_set(skewed, 2, "medium", "rank").tolist() == [2, 3]
    assert forget_set(skewed, 2, "medium", "median").tolist() == [2, 3]
    # 0.1 and 0.9 are equally far from one half, 0.2 is nearer: then the lower row.
    assert forget_set(skewed, 2, "medium", "half").tolist() == [2, 3]
    assert forget_set(Scores([0.0, 0.75, 0.25, 1.0]), 1, "medium", "half").tolist() == [1]
    assert forget_set(Scores([1.0, 0.75, 0.25, 0.0]), 1, "medium", "median").tolist() == [1]


def test_the_middle_of_a_spread_is_that_of_what_low_and_high_leave():
    scores = Scores([0.45, 0.5, 0.55])
    assert forget_set(Scores([*scores.values, 0.0]), 3, "spread").tolist() == [1, 2, 3]
    ranks = Scores(np.arange(9) / 8)
    assert forget_set(ranks, 3, "spread", "rank").tolist() == [0, 4, 8]
    assert forget_set(ranks, 3, "spread", "median").tolist() == [0, 4, 8]


@pytest.mark.parametrize("pick", ["low", "medium", "high"])
@pytest.mark.parametrize("middle", ["half", "median", "rank"])
def test_ties_go_to_the_lower_row(pick, middle):
    size, first = 3, 0
    if (pick, middle) == ("medium", "rank"):
        first = 3  # the middle three of nine ranks, which ties fill in the order of rows
    expected = list(range(first, first + size))
    assert forget_set(Scores(np.full(9, 0.5)), size, pick, middle).tolist() == expected


@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_a_spread_of_ties_has_its_size(size):
    values = np.zeros(20)
    values[3] = 1  # only one example stands out, so that low and high would take the same rows
    chosen = forget_set(Scores(values), size)
    assert len(np.unique(chosen)) == len(chosen) == size
    assert size < 3 or 3 in chosen


def test_unknown_scores_raise_or_are_left_out():
    values = np.array([0.1, np.nan, 0.9, 0.5, np.nan, 0.2])
    scores = Scores(values, name="memorization")
    message = r"memorization is unknown for 2 of 6 examples\. .*pass missing=\"drop\""
    with pytest.raises(ScoreError, match=message):
        forget_set(scores, 2)
    assert forget_set(scores, 3, missing="drop").tolist() == [0, 2, 3]
    with pytest.raises(PlanError, match=r"a forget set of 4 cannot be chosen from 4 examples"):
        forget_set(scores, 4, missing="drop")


@pytest.mark.parametrize("size", [0, -1, 10, 11])
def test_bad_sizes(size):
    message = rf"a forget set of {size} cannot be chosen from 10 examples; allowed are 1 \.\. 9"
    with pytest.raises(PlanError, match=message):
        forget_set(SCORES, size)


def test_unknown_words():
    with pytest.raises(ValueError, match="pick must be low, medium, high or spread, got 'mid'"):
        forget_set(SCORES, 3, "mid")
    with pytest.raises(ValueError, match="middle must be half, median or rank, got 'mean'"):
        forget_set(SCORES, 3, "medium", "mean")
    with pytest.raises(ValueError, match="missing must be raise or drop, got 'ignore'"):
        forget_set(SCORES, 3, missing="ignore")


def test_refine_goes_from_the_lowest_score_to_the_highest():
    partition = refine([7, 4, 0, 2, 6, 1], SCORES)
    assert [(s.name, s.rows.tolist()) for s in partition] == [
        ("low", [1, 4]),
        ("medium", [0, 6]),
        ("high", [2, 7]),
    ]
    five = refine([5, 4, 0, 2, 6], SCORES, into=("a", "b"))
    assert [s.rows.tolist() for s in five] == [[0, 4, 6], [2, 5]]
    assert refine([7, 4, 4, 7], SCORES, into=["x"]).rows.tolist() == [4, 7]


def test_refining_breaks_ties_by_row():
    partition = ByScore()(np.arange(6), Scores(np.zeros(6)))
    assert [s.rows.tolist() for s in partition] == [[0, 1], [2, 3], [4, 5]]


def test_shuffle_is_drawn_from_its_seed_and_not_from_the_scores():
    rows = np.arange(0, 60, 2)
    first = Shuffle()(rows, SCORES)
    assert first == Shuffle(seed=0)(rows, Scores(np.zeros(60)))
    assert first != Shuffle(seed=1)(rows, SCORES)
    assert first.names == ("shuffle1", "shuffle2", "shuffle3")


def test_errors():
    scores = Scores([0.1, np.nan, 0.3], name="mine")
    with pytest.raises(ScoreError, match="mine is unknown for some of the forget set"):
        ByScore()(np.array([0, 1, 2]), scores)
    for into, count in ((("a", "b", "c"), 3), ((), 0)):
        message = rf"2 examples cannot be split into {count} subsets"
        with pytest.raises(PlanError, match=message):
            refine([0, 2], scores, into)
    with pytest.raises(PlanError, match="two subsets have the same name; the names are a, a"):
        refine([0, 2], scores, ("a", "a"))


def test_the_table():
    assert {"by_score": ByScore, "shuffle": Shuffle} == REFINERS
    assert {name: kind.name for name, kind in REFINERS.items()} == {n: n for n in REFINERS}
