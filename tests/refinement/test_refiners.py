import numpy as np
import pytest

from rum_ray.errors import ConfigError, PlanError, ScoreError
from rum_ray.refinement import (
    REFINERS,
    ByClass,
    ByEntanglement,
    ByScore,
    Grid,
    Shuffle,
    forget_set,
    needs,
    refine,
)
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.seeding import Seed
from rum_ray.unlearning import Nothing

PICKS = ("low", "medium", "high")
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


def test_the_middle_of_a_spread_excludes_its_low_and_high():
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


def test_unknown_scores_raise_or_are_dropped():
    values = np.array([0.1, np.nan, 0.9, 0.5, np.nan, 0.2])
    scores = Scores(values, name="memorization")
    message = r"^memorization .* 2 of 6 examples.*missing='drop'"
    with pytest.raises(ScoreError, match=message):
        forget_set(scores, 2)
    assert forget_set(scores, 3, missing="drop").tolist() == [0, 2, 3]
    with pytest.raises(PlanError, match=r"forget set of 4 .* 4 examples"):
        forget_set(scores, 4, missing="drop")


@pytest.mark.parametrize("size", [0, -1, 10, 11])
def test_bad_sizes(size):
    message = rf"forget set of {size} .* 10 examples; .* 1 \.\. 9"
    with pytest.raises(PlanError, match=message):
        forget_set(SCORES, size)


def test_unknown_options_are_errors():
    with pytest.raises(
        ValueError, match="pick must be low, medium, high, spread or random, got 'mid'"
    ):
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


def test_unknown_scores_and_impossible_splits_are_errors():
    scores = Scores([0.1, np.nan, 0.3], name="mine")
    with pytest.raises(ScoreError, match=r"^mine .* 1 of 3 examples"):
        ByScore()(np.array([0, 1, 2]), scores)
    for into, count in ((("a", "b", "c"), 3), ((), 0)):
        with pytest.raises(PlanError, match=f"2 examples .* {count} subsets"):
            refine([0, 2], scores, into)
    with pytest.raises(PlanError, match=r"same name; .* a, a"):
        refine([0, 2], scores, ("a", "a"))


def test_the_table():
    assert list(REFINERS.values()) == [ByScore, ByEntanglement, Grid, ByClass, Shuffle]
    assert {name: kind.name for name, kind in REFINERS.items()} == {n: n for n in REFINERS}


LABELS = np.array([0, 1, 0, 1, 1, 0, 2, 2, 1, 0])


def test_a_random_forget_set_is_drawn_from_its_seed_and_not_from_the_scores():
    sets = [forget_set(SCORES, 4, "random", seed=seed).tolist() for seed in range(40)]
    unknown = Scores(np.full(10, np.nan))
    assert forget_set(unknown, 4, "random", seed=0).tolist() == sets[0]
    assert all(len(set(rows)) == 4 and rows == sorted(rows) for rows in sets)
    counts = np.bincount(np.concatenate(sets), minlength=10)
    assert counts.min() > 5  # each of ten is drawn 16 times on average
    with pytest.raises(PlanError, match=r"a forget set of 10 cannot be chosen from 10 examples"):
        forget_set(SCORES, 10, "random")


def test_a_whole_class_and_a_part_of_it():
    assert forget_set(SCORES, label=1, labels=LABELS).tolist() == [1, 3, 4, 8]
    assert forget_set(SCORES, 1, "high", label=1, labels=LABELS).tolist() == [3]
    assert forget_set(SCORES, 2, "low", label=1, labels=LABELS.tolist()).tolist() == [1, 4]
    assert forget_set(SCORES, 4, "low", label=1, labels=LABELS).tolist() == [1, 3, 4, 8]
    drawn = forget_set(SCORES, 2, "random", label=0, labels=LABELS, seed=3)
    assert set(drawn) < {0, 2, 5, 9}
    # Only scores of the class count.
    values = np.where(LABELS == 1, SCORES.values, np.nan)
    assert forget_set(Scores(values), 1, "high", label=1, labels=LABELS).tolist() == [3]
    with pytest.raises(ScoreError, match=r"^score .* 4 of 4 examples"):
        forget_set(Scores(values), 1, "high", label=0, labels=LABELS)


def test_bad_classes():
    with pytest.raises(PlanError, match="no example has class 3"):
        forget_set(SCORES, label=3, labels=LABELS)
    with pytest.raises(PlanError, match=r"forget set of 3 .* 2 examples; .* 1 \.\. 2"):
        forget_set(SCORES, 3, label=2, labels=LABELS)
    with pytest.raises(PlanError, match=r"forget set of 10 .* 10 examples; .* 1 \.\. 9"):
        forget_set(SCORES, label=0, labels=np.zeros(10))
    with pytest.raises(PlanError, match="size, or the label"):
        forget_set(SCORES)
    for labels in (None, LABELS[:4]):
        with pytest.raises(ValueError, match=r"label=1 .*labels.*10 examples"):
            forget_set(SCORES, label=1, labels=labels)


@pytest.mark.parametrize("total", [45, 100, 47])
def test_the_papers_groups_of_distance(total):
    """Spec 4.3, literally: group g has ranks [g * n, (g + 1) * n)."""
    distances = (Seed(0) / "distances").uniform(total)
    rank = sorted(range(total), key=lambda row: distances[row])
    each = total // 15
    groups = {"low": 3, "medium": 12, "high": 14}
    literal = {name: rank[each * g : each * (g + 1)] for name, g in groups.items()}
    for name, rows in literal.items():
        found = forget_set(Scores(distances), each, name, groups=15)
        assert found.tolist() == sorted(rows)
        assert forget_set(Scores(distances), 1, name, groups=15).tolist() == rows[:1]
    mixed = forget_set(Scores(distances), 3, groups=15)
    assert mixed.tolist() == sorted(rows[0] for rows in literal.values())
    uneven = forget_set(Scores(distances), 5, groups=15).tolist()
    assert uneven == sorted(literal["low"][:2] + literal["medium"][:2] + literal["high"][:1])


@pytest.mark.parametrize("groups", range(3, 20))
def test_other_numbers_of_groups_keep_the_order(groups):
    each = 40 // groups
    chosen = [forget_set(Scores(np.arange(40)), each, p, groups=groups) for p in PICKS]
    low, medium, high = chosen
    assert low[-1] < medium[0] <= medium[-1] < high[0]
    assert high[-1] == groups * each - 1


def test_bad_groups():
    with pytest.raises(PlanError, match=r"^4 examples .* 'low': 45 examples in 15 groups are 3 "):
        forget_set(Scores(np.arange(45)), 4, "low", groups=15)
    with pytest.raises(ValueError, match="groups must be at least 3, got 2"):
        forget_set(Scores(np.arange(45)), 4, "low", groups=2)


DISTANCES = Scores([5, 1, 2, 8, 3, 9, 4, 7, 6, 0.5], name="distance")


def test_by_entanglement_goes_from_the_nearest_to_the_farthest():
    partition = ByEntanglement()(np.arange(9), SCORES, distances=DISTANCES)
    assert [s.rows.tolist() for s in partition] == [[1, 2, 4], [0, 6, 8], [3, 5, 7]]
    assert partition.names == ("low", "medium", "high")
    with pytest.raises(ScoreError, match=r"^by_entanglement .*distances"):
        ByEntanglement()(np.arange(9), SCORES)


def test_a_grid_splits_by_score_and_then_by_distance():
    rows = np.array([0, 1, 2, 3, 4, 5, 6, 7])
    partition = Grid()(rows, SCORES, distances=DISTANCES)
    # By score: 4 1 3 6 | 0 7 2 5; their distances 3 1 8 4 | 5 7 2 9.
    cells = [(s.name, s.rows.tolist()) for s in partition]
    assert cells == [
        ("low_near", [1, 4]),
        ("low_far", [3, 6]),
        ("high_near", [0, 2]),
        ("high_far", [5, 7]),
    ]
    assert Grid().into == partition.names
    wide = Grid(scores=("a", "b", "c"), distances=("x",))
    assert wide(rows, SCORES, DISTANCES).names == ("a_x", "b_x", "c_x") == wide.into
    with pytest.raises(PlanError, match=r"2 examples .* 3 subsets"):
        Grid(scores=("a", "b", "c"))(rows[:2], SCORES, DISTANCES)


def test_by_class_has_one_subset_per_class():
    partition = ByClass()(np.array([1, 3, 6, 8]), SCORES, labels=LABELS)
    found = [(s.name, s.rows.tolist()) for s in partition]
    assert found == [("class1", [1, 3, 8]), ("class2", [6])]
    with pytest.raises(PlanError, match=r"^by_class .*labels"):
        ByClass()(np.array([1]), SCORES)


def test_a_refiner_declares_the_inputs_that_it_needs():
    assert [needs(kind()) for kind in REFINERS.values()] == [
        (),
        ("distances",),
        ("distances",),
        ("labels",),
        (),
    ]
    assert needs(lambda forget, scores: None) == ()

    class Greedy:
        needs = ("label",)

    message = r"^refine: .*Greedy .* 'label', .*distances, labels.*'labels'"
    with pytest.raises(ConfigError, match=message):
        needs(Greedy())


def papers_split(y: np.ndarray) -> np.ndarray:
    """Spec 1.1: class by class, a tenth is drawn from one legacy generator; D is the rest."""
    generator = np.random.RandomState(1)
    valid = []
    for label in range(10):
        (rows,) = np.nonzero(y == label)
        valid += generator.choice(rows, len(rows) // 10, replace=False).tolist()
    return np.delete(np.arange(len(y)), valid)


def test_the_papers_set_and_the_retain_sizes_of_its_steps():
    y = (Seed(0) / "labels").permutation(50_000) % 10
    train = papers_split(y)
    assert len(train) == 45_000
    assert np.bincount(y[train]).tolist() == [4500] * 10
    memorization = (Seed(0) / "memorization").uniform(50_000)[train]
    forget = forget_set(Scores(memorization), 3000)
    partition = refine(forget, Scores(memorization))
    # Spec 5.1: the first, the middle and the last 1000 of the descending order.
    descending = sorted(range(45_000), key=lambda row: -memorization[row])
    middle = sorted(descending, key=lambda row: abs(memorization[row] - 0.5))
    literal = {"low": descending[-1000:], "medium": middle[:1000], "high": descending[:1000]}
    assert {s.name: s.rows.tolist() for s in partition} == {
        name: sorted(rows) for name, rows in literal.items()
    }
    sizes = {"remaining": [44_000, 43_000, 42_000], "final": [42_000] * 3}
    for retain, expected in sizes.items():
        plan = Plan.assign(partition, dict.fromkeys(literal, Nothing()), retain)
        assert [len(plan.retain_rows(step, 45_000)) for step in range(3)] == expected
        assert not np.isin(literal["low"], plan.retain_rows(0, 45_000)).any()
        left = np.isin(literal["high"], plan.retain_rows(0, 45_000))
        assert left.all() if retain == "remaining" else not left.any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([-1, 2, 3], r"^rows to forget .* 0 \.\. 9; .* -1 \.\. 3"),
        ([1, 2, 10], r"^rows to forget .* 0 \.\. 9; .* 1 \.\. 10"),
        ([1.5, 2, 3], r"^rows to forget .* float64"),
    ],
)
def test_only_rows_of_the_training_set_are_refined(rows, message):
    with pytest.raises(PlanError, match=message):
        refine(rows, SCORES)
