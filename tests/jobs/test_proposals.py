"""Proposals of a search: a function of the seed and the ledger, within the budget."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import NAMES, ORIGINALS, PARTITION, SOME, context, run, search, units

from rum_ray.jobs import proposals as proposals_module
from rum_ray.jobs.ledger import Ledger, Result
from rum_ray.jobs.proposals import Proposals, _study
from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search import race
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import Judgement
from rum_ray.search.spaces import FREE, Space, replay
from rum_ray.training.domains import Choice, Integers, LogUniform
from rum_ray.unlearning import FineTune, Nothing, SalUn

PLANS = (
    Plan.assign(PARTITION, {"low": Nothing(), "medium": FineTune(lr=0.05), "high": SalUn(lr=0.1)}),
    Plan.assign(PARTITION, dict.fromkeys(NAMES, SalUn(epochs=3))),
)
RATE = LogUniform(0.001, 0.2)
RATES = {"lr": RATE}
samplers = pytest.mark.parametrize("sampler", ["tpe", "random"])


@pytest.fixture(scope="module")
def where(bundle, tmp_path_factory):
    return context(bundle, tmp_path_factory.mktemp("store"))


def answers(ledger):
    return [dict(trial.answers) for trial in ledger.trials]


@samplers
@pytest.mark.parametrize("name", FREE)
def test_the_same_seed_gives_the_same_ledger(where, name, sampler):
    of = [search(name, sampler=sampler, seed=seed, batch=6, trials=12) for seed in (0, 0, 1)]
    first, again, other = (run(each, where)[0].plain() for each in of)
    assert first == again != other


LIMITS = {"budget": {"budget": 9.0}, "trials": {"trials": 20}}


@samplers
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@settings(max_examples=4)
@given(seed=st.integers(0, 999))
def test_neither_workers_nor_the_order_of_results_change_anything(where, sampler, limit, seed):
    job = search("V5", sampler=sampler, batch=7, seed=seed, **limit)
    chance = random.Random(seed)
    one, made = run(job, where)
    assert len(made) > 20 or "budget" in limit
    for workers in (2, 8):
        found, again = run(job, where, workers=workers, chance=chance)
        assert found.plain() == one.plain()
        assert units(again) == units(made)


@settings(max_examples=5)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_a_replay_after_a_kill_makes_the_same_proposals(where, seed, share):
    job = search("V5", sampler="random", batch=5, trials=15, seed=seed)
    whole, made = run(job, where, workers=3, chance=random.Random(seed))
    _, before = run(
        job, where, workers=3, chance=random.Random(seed + 1), stop=round(share * len(whole.units))
    )
    assert units(before) == units(made)[: len(before)]
    ledger, after = run(job, where, workers=3, chance=random.Random(seed + 2))
    assert (ledger.plain(), units(after)) == (whole.plain(), units(made))


@samplers
@settings(max_examples=5)
@given(seed=st.integers(0, 999), budget=st.floats(3.0, 8.0), parts=st.integers(2, 3))
def test_the_first_part_of_a_search_is_a_search_with_that_budget(
    where, sampler, seed, budget, parts
):
    job = search("V4", sampler=sampler, batch=6, budget=budget, seed=seed)
    larger = search("V4", sampler=sampler, batch=6, budget=parts * budget, seed=seed)
    small, large = (run(each, where, workers=3)[0] for each in (job, larger))
    first = large.first(parts * budget / parts).plain()
    assert {**first, "drawn_again": small.drawn_again} == small.plain()
    assert small.spent <= budget
    assert large.spent <= parts * budget
    # No unit that fits is left out.
    assert small.spent + large.costs[len(small.costs)] > budget


@settings(max_examples=5)
@given(seed=st.integers(0, 999))
def test_the_ledger_is_a_race(where, seed):
    job = search("V4", sampler="random", batch=6, trials=18, seed=seed)
    ledger, _ = run(job, where)
    # Independent: replay the units batch by batch, with the results of the trials.
    results, left, new = list[list[float]](), [*ledger.units], 0
    while left:
        due = race.promoted(results, 3)
        fresh = min(18 - new, max(0, 6 - len(due)))
        batch = [*due, *(race.Unit(new + k, 0) for k in range(fresh))]
        assert left[: len(batch)] == batch
        del left[: len(batch)]
        new += fresh
        results += [[] for _ in range(fresh)]
        for unit in batch:
            plan = ledger.trials[unit.trial].plan
            assert unit.seed == len(results[unit.trial])
            results[unit.trial].append(ledger.trials[unit.trial].by_seed(job.config)[unit.seed])
            assert job.unit_cost(plan, where) > 0
    assert new == len(ledger.trials) == 18
    assert results == ledger.results(job.config)
    assert not race.promoted(results, 3)
    assert Counter(len(by_seed) for by_seed in results)[3] >= 6
    assert ledger.costs == [job.unit_cost(ledger.trials[u.trial].plan, where) for u in ledger.units]


def test_the_most_expensive_units_of_a_batch_come_first(where):
    job = search("V4", sampler="random", batch=9, trials=9)
    proposals = Proposals(job, where)
    plans = [proposals.ledger.trials[p.unit.trial].plan for p in iter(proposals.propose, None)]
    costs = [job.unit_cost(plan, where) for plan in plans]
    assert costs == sorted(costs, reverse=True)
    assert len({*costs}) > 3


@samplers
def test_a_search_starts_with_its_plans(where, sampler):
    job = search("V4", sampler=sampler, starts=PLANS, trials=6, batch=4)
    ledger, _ = run(job, where)
    assert [trial.plan for trial in ledger.trials[:2]] == [*PLANS]
    assert [trial.start for trial in ledger.trials] == [True, True] + [False] * 4
    assert len({trial.plan for trial in ledger.trials}) == 6


@samplers
def test_a_plan_above_the_cap_is_replaced_and_is_no_trial(where, sampler):
    job = search("V4", sampler=sampler, max_cost=0.5, trials=10, batch=5)
    ledger, _ = run(job, where)
    costs = [job.plan_cost(trial.plan, len(where.bundle.train)) for trial in ledger.trials]
    assert costs == [trial.cost for trial in ledger.trials]
    assert len(costs) == 10
    assert max(costs) <= 0.5
    assert ledger.drawn_again > 10


@samplers
def test_a_known_plan_is_replaced_and_a_small_space_ends(where, sampler, monkeypatch):
    monkeypatch.setattr(proposals_module, "DRAWS", 150)
    some = (Candidate("nothing"), Candidate("finetune", {"lr": 0.1, "epochs": Choice((1, 2))}))
    ledger, _ = run(search("V1", candidates=some, sampler=sampler, batch=4), where)
    assert len({trial.plan for trial in ledger.trials}) == len(ledger.trials) == 3
    assert ledger.drawn_again >= 150
    steps = {step.subset.name: step.unlearner for step in PLANS[0].steps}
    fixed = search("V1", steps=steps, sampler=sampler)
    ledger, _ = run(fixed, where)
    assert answers(ledger) == [{}]


def test_a_search_without_an_affordable_plan_ends(where, monkeypatch):
    monkeypatch.setattr(proposals_module, "DRAWS", 20)
    job = search("V4", candidates=SOME[1:], max_cost=0.001)
    proposals = Proposals(job, where)
    assert proposals.finished
    assert proposals.propose() is None
    assert (proposals.ledger.trials, proposals.ledger.drawn_again) == ([], 20)
    assert proposals.share == 1


def test_a_budget_below_the_first_unit_pays_for_nothing(where):
    proposals = Proposals(search("V4", candidates=SOME[1:], budget=0.01), where)
    assert proposals.finished
    assert not proposals.ledger.trials


@samplers
def test_inherited_trials_are_known(where, sampler):
    parent = search("V0", sampler=sampler, budget=6.0, seed=3)
    parent.save(where, run(parent, where)[0])
    middle = search("V2", sampler=sampler, budget=3.0, seed=3, parents=((parent, 2),))
    middle.save(where, run(middle, where)[0])
    job = search("V5", sampler=sampler, budget=9.0, seed=3, parents=((parent, 2), (middle, 1)))
    known = job.known(where)
    first = parent.ledger(where).first(3.0)
    plans = [trial.plan for trial in (*first.trials, *middle.ledger(where).trials)]
    assert [trial.plan for trial in known] == [*dict.fromkeys(plans)]
    assert 0 < len(first.trials) < len(parent.ledger(where).trials)
    study = _study(job, Ledger(known), 0)
    assert [t.value for t in study.trials[: len(known)]] == [
        pytest.approx(sum(t.by_seed(job.config)) / len(t.results)) for t in known
    ]
    ledger, _ = run(job, where)
    assert [trial.inherited for trial in ledger.trials[: len(known)]] == [True] * len(known)
    own = [trial for trial in ledger.trials if not trial.inherited]
    assert own
    assert len({trial.plan for trial in ledger.trials}) == len(ledger.trials)
    # What the parents judged costs nothing again.
    assert ledger.spent <= 9.0
    counts = Counter(unit.trial for unit in ledger.units)
    for number, trial in enumerate(known):
        assert len(ledger.trials[number].results) == len(trial.results) + counts[number]


def test_an_inherited_plan_keeps_the_most_results(where):
    parent = search("V1", sampler="random", budget=8.0, seed=5)
    parent.save(where, run(parent, where)[0])
    child = search("V2", sampler="random", budget=6.0, seed=5, parents=((parent, 4),))
    child.save(where, run(child, where)[0])
    both = search("V4", sampler="random", budget=4.0, seed=5, parents=((parent, 4), (child, 1)))
    theirs = {t.plan: len(t.results) for t in child.ledger(where).trials}
    ours = {t.plan: len(t.results) for t in both.known(where)}
    first = {t.plan: len(t.results) for t in parent.first(where, 4).trials}
    assert ours == {plan: max(first.get(plan, 0), count) for plan, count in theirs.items()}
    assert any(count > first.get(plan, math.inf) for plan, count in ours.items())


def test_eight_subsets_have_an_order_too(where):
    into = tuple(f"s{k}" for k in range(8))
    partition = refine(range(40), Scores([0.1] * 40), into)
    space = Space("V4", SOME, partition)
    for trial in range(20):
        answers, plan = space.draw(ORIGINALS[0].seed / trial)
        assert sorted(plan.partition.names) == [*into]
        assert space.plan(replay(answers)) == plan


@pytest.mark.parametrize("name", ["V0", "V1"])
@settings(max_examples=5)
@given(seed=st.integers(0, 999))
def test_the_first_plans_spread_evenly(where, name, seed):
    # An expensive plan is drawn again: its rate stays in the same eighth of the range.
    some = (Candidate("neggrad+"),)
    job = search(name, candidates=some, trials=8, batch=8, max_cost=0.3, seed=seed)
    ledger, _ = run(job, where)
    drawn_again = ledger.drawn_again
    found = [trial.plan.steps[0].unlearner for trial in ledger.trials]
    domains = some[0].domains
    for key, scaled in (("lr", math.log), ("alpha", float)):
        low, high = scaled(domains[key].low), scaled(domains[key].high)
        shares = [(scaled(getattr(u, key)) - low) / (high - low) for u in found]
        assert sorted(int(8 * share) for share in shares) == [*range(8)]
    assert drawn_again > 0
    # Another unlearner has other plans.
    other = run(search(name, candidates=(Candidate("salun"),), trials=8, batch=8, seed=seed), where)
    rates = sorted(trial.plan.steps[0].unlearner.lr for trial in other[0].trials)
    assert rates != sorted(u.lr for u in found)


def test_the_random_sampler_does_not_spread(where):
    job = search(
        "V0", candidates=(Candidate("salun", RATES),), sampler="random", trials=200, batch=50
    )
    ledger, _ = run(job, where)
    low, high = math.log(RATE.low), math.log(RATE.high)
    first = [trial.plan.steps[0].unlearner for trial in ledger.trials[:50]]
    cells = {int(50 * (math.log(u.lr) - low) / (high - low)) for u in first}
    assert 20 < len(cells) < 42


def test_random_draws_keep_to_narrowed_domains(where):
    narrowed = {"lr": LogUniform(0.05, 0.1), "epochs": Integers(2, 3), "keep": Choice((0.3, 0.6))}
    some = (Candidate("salun", narrowed),)
    ledger, _ = run(search("V4", sampler="random", candidates=some, trials=150, batch=75), where)
    found = [step.unlearner for trial in ledger.trials for step in trial.plan.steps]
    assert {u.epochs for u in found} == {2, 3}
    assert {u.keep for u in found} == {0.3, 0.6}
    rates = sorted(u.lr for u in found)
    assert 0.05 <= rates[0] < 0.052
    assert 0.097 < rates[-1] <= 0.1
    # Still logarithmic: half of the draws lie below the geometric mean.
    assert sum(rate < 0.05 * 2**0.5 for rate in rates) / len(rates) == pytest.approx(0.5, abs=0.09)


def liking_high_first(plan, seed):
    """A rule by which "high" comes first; the cost does not count."""
    place = plan.partition.names.index("high")
    return Result(Judgement(1 - 0.3 * place, 0.0, 0.0, 1.0), dict.fromkeys(NAMES, 0.5))


def test_the_sampler_learns_from_results(where):
    found = {}
    for sampler in ("tpe", "random"):
        job = search("V4", sampler=sampler, trials=40, batch=10)
        ledger, _ = run(job, where, judge=liking_high_first)
        found[sampler] = sum(a["high.place"] == 1 for a in answers(ledger)[-15:])
    assert found["tpe"] >= 10 > 8 >= found["random"]


def test_with_two_objectives_the_sampler_prefers_cheap_plans(where):
    costs = {}
    for front in (False, True):
        some = (Candidate("finetune", {"lr": RATE}),)
        job = search("V0", front=front, trials=24, batch=8, candidates=some)
        ledger, _ = run(job, where, judge=lambda plan, seed: Result(Judgement(0.5, 0, 0, 1)))
        directions = [d.name for d in _study(job, ledger, 0).directions]
        assert directions == (["MAXIMIZE", "MINIMIZE"] if front else ["MAXIMIZE"])
        costs[front] = sum(trial.cost for trial in ledger.trials[-12:])
    assert costs[True] < 0.75 * costs[False]


def test_every_batch_knows_the_means_so_far(where):
    job = search("V5", trials=24, batch=8)
    ledger, _ = run(job, where)
    study = _study(job, ledger, 3)
    means = [sum(by_seed) / len(by_seed) for by_seed in ledger.results(job.config)]
    assert [trial.value for trial in study.trials] == pytest.approx(means)
    assert [trial.params for trial in study.trials] == answers(ledger)
