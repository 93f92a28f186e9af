"""Finalists and the pick of a search, with made-up results on search seeds and fresh seeds."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searching import NAMES, PARTITION, context, drawn, run, search

from rum_ray.errors import StalledError
from rum_ray.jobs import EvaluatePlan
from rum_ray.jobs.ledger import Ledger, Result, Trial
from rum_ray.rum import Plan
from rum_ray.search import race
from rum_ray.search.objective import Judgement
from rum_ray.store import Artifact
from rum_ray.unlearning import FineTune, Nothing


@pytest.fixture
def made_up(bundle, tmp_path_factory, monkeypatch):
    """A context whose units are drawn, not run; a test may give results by plan."""
    where, given = context(bundle, tmp_path_factory.mktemp("store")), dict[Plan, list[Result]]()
    load = type(where).load

    def answer(self, job):
        if not isinstance(job, EvaluatePlan):
            return load(self, job)
        seed = [original.seed for original in search("V0").originals].index(job.original.seed)
        known = given.get(job.plan)
        result = drawn(job.plan, seed) if known is None else known[seed - 3]
        return Artifact(value=result.plain())

    monkeypatch.setattr(type(where), "load", answer)
    return where, given


def verdict(finalist):
    values = [-1.0 if r.judged is None else r.judged.verdict("tow_gap") for r in finalist.fresh]
    return sum(values) / len(values)


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 3))
def test_a_space_never_hands_out_a_worse_plan_than_a_smaller_one(
    bundle, tmp_path_factory, seed, parts
):
    with pytest.MonkeyPatch.context() as patch:
        where = context(bundle, tmp_path_factory.mktemp("store"))
        load = type(where).load

        def answer(self, job):
            if not isinstance(job, EvaluatePlan):
                return load(self, job)
            index = [o.seed for o in search("V0").originals].index(job.original.seed)
            return Artifact(value=drawn(job.plan, index).plain())

        patch.setattr(type(where), "load", answer)
        settings = {"sampler": "random", "seed": seed, "batch": 4}
        rival = search("V0", budget=parts * 3.0, **settings)
        rival.save(where, run(rival, where)[0])
        found = [rival]
        for name in ("V2", "V5"):
            parents = [(each, parts if each is rival else 1) for each in found]
            job = search(name, budget=3.0, parents=parents, **settings)
            job.save(where, run(job, where)[0])
            best, *_ = job.finalists(where)
            assert job.pick(where) == best.plan
            compared = {each.plan: each for each in job.finalists(where)}
            for parent, count in parents:
                # The rival competes as it was with one part of its budget.
                own = parent.best(parent.first(where, count))
                plans = [trial.plan for trial in own if job.space.find(trial.plan) is not None]
                if count == 1 and parent.pick(where) in plans:
                    assert parent.pick(where) in compared
                for plan in plans:
                    rivals = compared[plan]
                    assert rivals.dropped is not None or verdict(best) >= verdict(rivals)
                    assert best.dropped is None or rivals.dropped is not None
            found.append(job)


TUNED = [FineTune(lr=0.01, epochs=k) for k in range(1, 8)]
PLANS = [Plan.assign(PARTITION, dict.fromkeys(NAMES, each)) for each in TUNED]


def result(tow, gap=0.0, svm=0.0, examples=0.8):
    return Result(Judgement(tow, gap, svm, examples), dict.fromkeys(NAMES, 0.5))


def saved(where, results, **changes):
    """A finished search with these trials, each with its results by search seed."""
    job = search("V1", **changes)
    ledger = Ledger([], [], [])
    for number, (plan, by_seed) in enumerate(zip(PLANS, results, strict=False)):
        cost = job.plan_cost(plan, len(where.bundle.train))
        ledger.trials.append(Trial(job.space.answers(plan), plan, cost))
        for seed, each in enumerate(by_seed):
            ledger.add(race.Unit(number, seed), 0.1, each)
    job.save(where, ledger)
    return job


def test_finalists_are_ranked_by_both_attacks_on_fresh_seeds(made_up):
    where, given = made_up
    job = saved(where, [[result(0.9)] * 3] * 3, finalists=3)
    # The first is the best by the searched attack, the second by the mean of both.
    gaps = {PLANS[0]: (0.0, 0.4), PLANS[1]: (0.1, 0.1), PLANS[2]: (0.5, 0.5)}
    for plan, (auc, svm) in gaps.items():
        given[plan] = [result(0.9, auc, svm)] * 5
    given[job.idle] = [result(0.5, examples=0.1)] * 5
    assert [each.plan for each in job.finalists(where)] == [PLANS[1], PLANS[0], PLANS[2]]
    assert job.pick(where) == PLANS[1]
    assert [each.searched for each in job.finalists(where)] == pytest.approx([0.9] * 3)
    fresh = {(unit.plan, unit.original.seed) for unit in job.validations(where)}
    expected = {(plan, o.seed) for plan in [*PLANS[:3], job.idle] for o in job.originals[3:]}
    assert fresh == expected


def test_plans_that_fail_or_agree_less_than_doing_nothing_are_dropped(made_up):
    where, given = made_up
    job = saved(where, [[result(0.9)] * 3] * 5, finalists=5)
    given[PLANS[0]] = [result(0.9)] * 4 + [result(0.1)]
    given[PLANS[1]] = [result(0.9)] * 4 + [Result(None)]
    given[PLANS[2]] = [result(0.9, examples=0.2)] * 5
    given[PLANS[3]] = [Result(None)] * 5
    given[PLANS[4]] = [result(0.4)] * 5
    given[job.idle] = [result(0.1, examples=0.5)] * 5
    found = job.finalists(where)
    assert found[0].plan == PLANS[4]
    assert [each.dropped is None for each in found] == [True] + [False] * 4
    # If every plan is dropped, the best one is picked.
    given[PLANS[4]] = [result(0.4, examples=0.1)] * 5
    assert job.pick(where) == PLANS[2]


def test_doing_nothing_is_not_dropped(made_up):
    where, given = made_up
    job = saved(where, [[result(0.3)] * 3], finalists=1)
    lazy = Plan.assign(PARTITION, dict.fromkeys(NAMES, Nothing()))
    given[PLANS[0]] = given[lazy] = given[job.idle] = [result(0.3, 0.5, 0.5, 0.4)] * 5
    assert [each.dropped for each in job.finalists(where)] == [None]


def test_finalists_with_all_seeds_come_first_and_are_within_the_limit(made_up):
    where, _ = made_up
    results = [
        [result(0.99)],
        [result(0.8)] * 3,
        [result(0.9)] * 3,
        [result(0.95), result(0.1)],
        [result(0.97), Result(None)],
    ]
    job = saved(where, results, finalists=3)
    assert [trial.plan for trial in job.candidates(where)] == [PLANS[2], PLANS[1], PLANS[0]]
    costs = [trial.cost for trial in job.ledger(where).trials]
    limited = dataclasses.replace(
        job, config=dataclasses.replace(job.config, pick=f"cost<={costs[1] + 1e-5:.6f}")
    )
    assert [trial.plan for trial in limited.candidates(where)] == [PLANS[1], PLANS[0]]


@pytest.mark.parametrize(
    ("results", "pick"),
    [
        ([], None),
        ([[Result(None)]] * 2, None),
        ([[result(0.9)]] * 2, "cost<=0.001"),
        ([[result(0.9), result(0.1)]] * 2, None),
    ],
    ids=["no trial", "diverged", "too dear", "fails"],
)
def test_a_search_without_a_finalist_is_an_error(made_up, results, pick):
    where, _ = made_up
    job = saved(where, results, finalists=1, trials=len(results) + 1)
    job = dataclasses.replace(job, config=dataclasses.replace(job.config, pick=pick))
    with pytest.raises(StalledError, match=r"^search\b.* V1 "):
        job.candidates(where)


def test_the_cost_of_a_search_is_that_of_its_units_and_fresh_seeds(made_up):
    where, _ = made_up
    job = search("V4", sampler="random", trials=6)
    ledger, _ = run(job, where)
    job.save(where, ledger)
    units = job.validations(where)
    fresh = sum(job.unit_cost(unit.plan, where) for unit in units)
    assert job.cost(where) == pytest.approx(ledger.spent + fresh)
    # By hand: passes over D, and a third of D and V for the evaluation; retraining takes 20 epochs.
    unit = next(unit for unit in units if not all(step.idle for step in unit.plan.steps))
    retraining = 20 * (160 - 12)
    expected = (unit.plan.cost(160) + (160 + 40) / 3) / retraining
    assert job.unit_cost(unit.plan, where) == pytest.approx(expected)
