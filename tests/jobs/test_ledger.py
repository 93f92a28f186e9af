"""The ledger of a search: stored and read again, cut, and inherited by larger spaces."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import NAMES, PARTITION, context, drawn, run, search

from rum_ray.jobs.ledger import Ledger, Result, Trial, inherited, mean_of, objective, read_ledger
from rum_ray.rum import Plan
from rum_ray.search.objective import INFEASIBLE, Judgement
from rum_ray.search.spaces import FREE
from rum_ray.unlearning import FineTune


@pytest.fixture(scope="module")
def where(bundle, tmp_path_factory):
    return context(bundle, tmp_path_factory.mktemp("store"))


def same(one: Ledger, other: Ledger) -> bool:
    values = [
        [(t.answers, t.plan, t.cost, t.start, t.inherited, t.results) for t in each.trials]
        for each in (one, other)
    ]
    rest = [(each.units, each.costs, each.drawn_again) for each in (one, other)]
    return values[0] == values[1] and rest[0] == rest[1]


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=3)
@given(seed=st.integers(0, 99))
def test_a_ledger_is_read_as_it_was_stored(where, name, seed):
    job = search(name, sampler="random", trials=9, batch=4, seed=seed)
    ledger, _ = run(job, where)
    stored = json.loads(json.dumps(ledger.plain()))
    read = read_ledger(stored, job.space)
    assert same(read, ledger)
    assert read.plain() == ledger.plain() == stored
    job.save(where, ledger)
    assert same(job.ledger(where), ledger)


@settings(max_examples=10)
@given(seed=st.integers(0, 99), share=st.floats(0, 1.2))
def test_a_cut_ledger_has_the_units_that_fit_and_their_results(where, seed, share):
    job = search("V4", sampler="random", trials=9, batch=4, seed=seed)
    ledger, _ = run(job, where)
    limit = share * ledger.spent
    cut = ledger.first(limit)
    count = len(cut.units)
    assert cut.units == ledger.units[:count]
    assert cut.spent <= limit + 1e-9
    assert count == len(ledger.units) or sum(ledger.costs[: count + 1]) > limit
    for number, trial in enumerate(cut.trials):
        own = [unit for unit in cut.units if unit.trial == number]
        assert trial.plan == ledger.trials[number].plan
        assert trial.results == ledger.trials[number].results[: len(own)]
    # A trial whose first unit does not fit was not proposed.
    assert {unit.trial for unit in cut.units} == {*range(len(cut.trials))}


def trial(plan, *results, **changes):
    return Trial({}, plan, 0.1, results=tuple(results), **changes)


GOOD = Result(Judgement(0.9, 0.1, 0.2, 0.7), {"low": 1.0, "high": 0.5})
WEAK = Result(Judgement(0.3, 0.2, 0.0, 0.9), {"low": 0.5, "high": 0.0})
DIVERGED = Result(None)
PLAN = Plan.assign(PARTITION, dict.fromkeys(NAMES, FineTune()))


def test_means_are_over_the_seeds_and_none_for_a_plan_that_diverged():
    config = search("V4").config
    found = trial(PLAN, GOOD, WEAK)
    assert found.status == "complete"
    assert found.by_seed(config) == pytest.approx([0.8, 0.1])
    assert (found.mean("tow"), found.mean("examples")) == pytest.approx((0.6, 0.8))
    assert found.subsets == {"low": 0.75, "high": 0.25}
    lost = trial(PLAN, GOOD, DIVERGED)
    assert (lost.status, lost.mean("tow"), lost.subsets) == ("diverged", None, {})
    assert lost.by_seed(config) == pytest.approx([0.8, INFEASIBLE])
    assert objective(DIVERGED, config) == INFEASIBLE
    assert mean_of([], "tow") is mean_of([Result(Judgement(1, 0, 0, None))], "examples") is None


def test_a_finalist_is_affordable_and_fails_on_no_seed():
    config = search("V4", max_cost=0.5, pick="cost<=0.1").config
    for results, cost, expected in (
        ([GOOD], 0.1, True),
        ([GOOD], 0.2, False),
        ([GOOD, GOOD, DIVERGED], 0.1, False),
        ([GOOD, GOOD, WEAK], 0.1, False),
        ([WEAK, WEAK], 0.1, True),
    ):
        assert Trial({}, PLAN, cost, results=tuple(results)).qualifies(config) == expected


@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_a_larger_space_inherits_each_plan_once_with_the_most_results(where, seed):
    smaller = search("V2", sampler="random", trials=6, seed=seed)
    ledger, _ = run(smaller, where, judge=drawn)
    larger = search("V5").space
    again = [trial(each.plan, *each.results[:1], start=True) for each in ledger.trials]
    for trials in ([*ledger.trials, *again], [*again, *ledger.trials]):
        found = inherited(larger, trials)
        assert [each.plan for each in found] == [each.plan for each in ledger.trials]
        assert [each.results for each in found] == [each.results for each in ledger.trials]
        assert all(each.inherited and not each.start for each in found)
    # Plans outside of the space are left out.
    assert not inherited(search("V0").space, ledger.trials)


def test_a_plan_in_another_order_is_not_inherited_by_a_space_without_orders():
    backwards = Plan.assign(PARTITION.reversed(), dict.fromkeys(NAMES, FineTune()))
    trials = [trial(backwards, GOOD), trial(PLAN, GOOD)]
    assert [each.plan for each in inherited(search("V1").space, trials)] == [PLAN]
    assert [each.plan for each in inherited(search("V2").space, trials)] == [backwards, PLAN]
