"""V5: subsets may share a step, so it contains the other spaces."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rum_ray import config
from rum_ray.errors import PlanError
from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import FREE, Space, replay
from rum_ray.seeding import Seed
from rum_ray.unlearning import UNLEARNERS, FineTune, Nothing, SalUn

PARTITION = refine(range(0, 12, 2), Scores([0.1] * 12), into=("low", "medium", "high"))
SOME = tuple(map(Candidate, ("nothing", "finetune", "neggrad+", "salun")))
STEPS = {"medium": SalUn(lr=0.5)}


def space(name, **changes) -> Space:
    return Space(name, **{"candidates": SOME, "partition": PARTITION, **changes})


def sets(plan) -> tuple[frozenset[str], ...]:
    """The names of the subsets of each step."""
    rows_of = {subset.name: {*subset.rows.tolist()} for subset in PARTITION}
    return tuple(
        frozenset(name for name, rows in rows_of.items() if rows <= {*step.subset.rows.tolist()})
        for step in plan.steps
    )


variants = pytest.mark.parametrize(
    "variant", [{}, {"grid": 3}, {"retain": "final"}, {"ordered": True}], ids=str
)


@variants
@pytest.mark.parametrize("name", ["V0", "V1", "V2", "V3", "V4", "V5"])
@settings(max_examples=40)
@given(number=st.integers(0, 10**6))
def test_every_plan_of_another_space_is_in_v5(name, variant, number):
    _, plan = space(name, **variant).draw(Seed(number))
    joined = space("V5", **variant)
    answers = joined.find(plan)
    assert answers is not None
    assert joined.plan(replay(answers)) == plan


@pytest.mark.parametrize("name", ["V1", "V2", "V3", "V4", "V5"])
@settings(max_examples=40)
@given(number=st.integers(0, 10**6))
def test_with_fixed_steps_v5_contains_the_refined_spaces(name, number):
    _, plan = space(name, steps=STEPS).draw(Seed(number))
    joined = space("V5", steps=STEPS)
    assert joined.plan(replay(joined.answers(plan))) == plan


def test_all_thirteen_ordered_set_partitions_of_three_subsets_are_reached():
    names, expected = PARTITION.names, set()
    # Independent: each subset gets the number of its step, and the numbers used are 0 .. k - 1.
    for steps in itertools.product(range(3), repeat=3):
        if {*steps} == {*range(len({*steps}))}:
            groups = {k: frozenset(n for n, s in zip(names, steps, strict=True) if s == k)
                      for k in {*steps}}  # fmt: skip
            expected.add(tuple(groups[k] for k in sorted(groups)))
    assert len(expected) == 13
    found = {sets(space("V5").draw(Seed(number))[1]) for number in range(300)}
    assert found == expected
    # With a fixed order, neighbours may share a step: two choices, four partitions.
    fixed = {sets(space("V5", ordered=True).draw(Seed(number))[1]) for number in range(100)}
    assert len(fixed) == 4


def test_the_whole_forget_set_is_one_step_of_v0():
    one = space("V5", candidates=(Candidate("finetune"),), ordered=True)
    answers = {"medium.joins": "before", "high.joins": "before"}
    answers |= {
        "low.unlearner": "finetune", "low.finetune.lr": 0.01, "low.finetune.epochs": 2,
    }  # fmt: skip
    plan = one.plan(replay(answers))
    assert plan.partition.names == ("all",)
    same = {question.removeprefix("low."): answer for question, answer in answers.items()}
    assert plan == space("V0").plan(replay(same))
    assert one.answers(plan) == answers


@pytest.mark.parametrize("fixed", PARTITION.names)
def test_a_fixed_step_is_never_joined(fixed):
    ours = space("V5", steps={fixed: SalUn(lr=0.5)})
    for number in range(200):
        plan = ours.draw(Seed(number))[1]
        (step,) = (step for step in plan.steps if fixed in step.subset.name)
        assert step.subset.name == fixed
        assert step.unlearner == SalUn(lr=0.5)


COSTLY = tuple(map(Candidate, sorted(UNLEARNERS.keys() - {"nothing", "retrain"})))


@pytest.mark.parametrize("retain", ["remaining", "final"])
@pytest.mark.parametrize("name", FREE)
@settings(max_examples=60)
@given(number=st.integers(0, 10**6), steps=st.sampled_from([{}, STEPS]))
def test_no_plan_costs_less_than_the_bound(name, retain, number, steps):
    ours = space(name, candidates=COSTLY, retain=retain, steps=steps)
    _, plan = ours.draw(Seed(number))
    assert 0 < ours.least_cost(1000) <= plan.cost(1000)


def test_a_joined_step_is_cheaper_than_its_parts():
    finetune = (Candidate("finetune"),)
    bounds = {name: space(name, candidates=finetune).least_cost(1000) for name in FREE}
    assert bounds["V5"] == bounds["V0"] == 994
    assert bounds["V4"] == 3 * 994


@settings(max_examples=60)
@given(number=st.integers(0, 10**6))
def test_a_plan_file_holds_joined_steps(number, tmp_path_factory):
    _, plan = space("V5").draw(Seed(number))
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(config.dump_plan(plan))
    read = config.load_plan(path)
    again = Plan.assign(PARTITION, read.plan)
    if read.order is not None and again.partition.names != tuple(read.order):
        again = Plan.assign(again.partition.ordered(read.order), read.plan)
    assert again == plan


def test_a_plan_may_name_joined_subsets_in_any_order():
    rates = FineTune(lr=0.1), Nothing()
    plan = Plan.assign(PARTITION, {"high+low": rates[0], "medium": rates[1]})
    assert plan.partition.names == ("low+high", "medium")
    assert [step.unlearner for step in plan.steps] == [*rates]
    whole = Plan.assign(PARTITION, {"all": rates[0]})
    assert sets(whole) == (frozenset(PARTITION.names),)


@pytest.mark.parametrize(
    "names", [("low+high",), ("low+high", "low", "medium"), ("low+hihg", "medium"), ("low+",),
              ("all", "low"), ("low+medium+high+high",)],
)  # fmt: skip
def test_joined_steps_that_do_not_hold_each_subset_once_are_errors(names):
    with pytest.raises(PlanError):
        Plan.assign(PARTITION, dict.fromkeys(names, Nothing()))
