from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.refinement import REFINERS, forget_set, needs
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.unlearning import NegGradPlus, Nothing

# Few different values, so that ties are common.
VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]) | st.floats(-1, 1), min_size=2)


@given(
    VALUES,
    st.data(),
    st.sampled_from(["low", "medium", "high", "spread"]),
    st.sampled_from(["half", "median", "rank"]),
)
def test_a_forget_set_has_its_size_and_is_sorted_and_unique(values, data, pick, middle):
    size = data.draw(st.integers(1, len(values) - 1))
    rows = forget_set(Scores(values), size, pick, middle)
    assert len(rows) == size
    assert np.all(np.diff(rows) > 0)
    assert 0 <= rows[0] <= rows[-1] < len(values)


@given(VALUES, st.data())
def test_low_and_high_are_the_extremes(values, data):
    size, scores = data.draw(st.integers(1, len(values) - 1)), Scores(values)
    low, high = (forget_set(scores, size, pick) for pick in ("low", "high"))
    rest = np.delete(scores.values, low), np.delete(scores.values, high)
    assert scores.values[low].max() <= rest[0].min()
    assert scores.values[high].min() >= rest[1].max()


@given(VALUES, st.data())
def test_shifting_all_scores_changes_only_the_half_rule(values, data):
    size = data.draw(st.integers(1, len(values) - 1))
    shifted = [round(value, 3) + 4 for value in values]
    scores = Scores([round(value, 3) for value in values]), Scores(shifted)
    for pick in ("low", "high"):
        rows = [forget_set(s, size, pick) for s in scores]
        assert np.array_equal(*rows)


def known(name: str, total: int) -> dict[str, Any]:
    """All inputs of a refiner, for `total` examples."""
    facts = {"distances": Scores(np.arange(total) % 7), "labels": np.arange(total) % 3}
    return {need: facts[need] for need in needs(REFINERS[name]())}


@given(VALUES, st.data(), st.sampled_from(sorted(REFINERS)))
def test_every_refiner_splits_all_of_the_forget_set(values, data, name):
    every = range(len(values) * 4)
    rows = np.array(sorted(data.draw(st.sets(st.sampled_from(every), min_size=4))))
    scores = Scores(np.repeat(values, 4))
    partition = REFINERS[name]()(rows, scores, **known(name, len(scores)))
    assert np.array_equal(partition.rows, rows)
    names = data.draw(st.permutations(partition.names))
    ordered = partition.ordered(names)
    assert ordered.names == tuple(names)
    assert set(ordered) == set(partition)
    assert list(partition.reversed()) == list(partition)[::-1]


@given(VALUES, st.data(), st.sampled_from(["by_score", "by_entanglement", "shuffle"]))
def test_subsets_are_disjoint_and_their_union_is_the_forget_set(values, data, name):
    every = np.arange(len(values))
    rows = np.array(sorted(data.draw(st.sets(st.sampled_from(every.tolist()), min_size=1))))
    names = data.draw(st.permutations("abcde"))[: data.draw(st.integers(1, min(5, len(rows))))]
    partition = REFINERS[name](into=tuple(names))(rows, Scores(values), **known(name, len(values)))
    assert partition.names == tuple(names)
    assert np.array_equal(np.sort(np.concatenate([s.rows for s in partition])), rows)
    sizes = [len(subset) for subset in partition]
    assert max(sizes) - min(sizes) <= 1
    if name == "by_score":
        scores = [np.asarray(values)[subset.rows] for subset in partition]
        for lower, higher in pairwise(scores):
            assert lower.max() <= higher.min()
    # At every step, what is retained and what is forgotten so far are all of D.
    plan = Plan.assign(partition, dict.fromkeys(names, Nothing()))
    for step in range(len(names)):
        forgotten = np.concatenate([s.rows for s in list(partition)[: step + 1]])
        both = np.concatenate([plan.retain_rows(step, len(values)), forgotten])
        assert np.array_equal(np.sort(both), every)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 70), st.integers(1, 3))
def test_the_cost_of_neggrad_plus_counts_the_examples_of_its_loop(forget, retain, size, epochs):
    def batches(count):
        return [min(size, count - first) for first in range(0, count, size)]

    seen, lost = batches(retain), batches(forget)
    total = sum(seen) + sum(lost[i % len(lost)] for i in range(len(seen)))
    cost = NegGradPlus(batch_size=size, epochs=epochs).cost(forget, retain)
    assert cost == pytest.approx(epochs * total)
