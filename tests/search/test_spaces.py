import itertools
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import pytest

from rum_ray.errors import PlanError
from rum_ray.partition import Partition, whole
from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import FREE, Space
from rum_ray.seeding import Seed
from rum_ray.training.domains import Choice, Integers, LogUniform, Uniform, snap_to_grid
from rum_ray.unlearning import UNLEARNERS, FineTune, NegGradPlus, Nothing, SalUn, Scrub

PARTITION = refine(range(0, 12, 2), Scores([0.1] * 12))
NAMES = ("nothing", "finetune", "neggrad+", "salun")
SOME = tuple(map(Candidate, NAMES))
NARROWED = (
    Candidate("finetune", {"lr": LogUniform(0.05, 0.1), "epochs": Choice((1, 3))}),
    Candidate("salun", {"keep": Uniform(0.2, 0.3), "epochs": Integers(6, 7), "batch_size": 32}),
    Candidate("scrub", {"lr": 0.002, "gamma": Choice((0.95, 0.91))}),
)
STEPS = {"medium": SalUn(lr=0.5)}
VARIANTS = {
    "free": {},
    "grid": {"grid": 3},
    "steps": {"steps": STEPS},
    "steps, grid": {"steps": STEPS, "grid": 2},
    "ordered": {"ordered": True},
    "narrowed": {"candidates": NARROWED},
    "narrowed, grid": {"candidates": NARROWED, "grid": 2, "retain": "final"},
}
variants = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def space(name, partition=PARTITION, **changes) -> Space:
    return Space(name, partition=partition, **{"candidates": SOME, **changes})


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A plug-in without a search space."""

    name: ClassVar[str] = "secret"

    def __call__(self, model, task, runtime):
        return model

    def cost(self, forget, retain):
        return 0.0


class Chooser:
    """Answers by name, else with a bound of the domain; records the questions."""

    def __init__(self, answers=None) -> None:
        self.answers, self.asked = answers or {}, {}

    def __call__(self, name, domain):
        assert name not in self.asked, f"{name} was asked twice"
        assert isinstance(domain, Choice | Integers | LogUniform | Uniform)
        self.asked[name] = domain
        if name in self.answers:
            return self.answers[name]
        return domain.options[0] if isinstance(domain, Choice) else domain.high


class Drawer(Chooser):
    """Answers at random, and records its answers."""

    def __init__(self, number) -> None:
        super().__init__()
        self._seed = Seed(number) / "draws"

    def __call__(self, name, domain):
        super().__call__(name, domain)
        share = float((self._seed / name).uniform(1)[0])
        if isinstance(domain, Choice):
            answer = domain.options[int(share * len(domain.options))]
        elif isinstance(domain, Integers):
            answer = domain.low + int(share * (domain.high - domain.low + 1))
        elif isinstance(domain, LogUniform):
            answer = domain.low * (domain.high / domain.low) ** share
        else:
            answer = domain.low + share * (domain.high - domain.low)
        self.answers[name] = answer
        return answer


def subsets(count) -> Partition:
    return refine(range(4 * count), Scores([0.1] * 4 * count), [f"s{k}" for k in range(count)])


def named(plan):
    return [step.subset.name for step in plan.steps]


def test_v0_is_one_unlearner_on_the_whole_set():
    chooser = Chooser({"unlearner": "salun", "salun.epochs": 3})
    plan = space("V0").plan(chooser)
    [step] = plan.steps
    assert (step.subset.name, step.subset.rows.tolist()) == ("all", [0, 2, 4, 6, 8, 10])
    assert step.unlearner == SalUn(lr=0.2, epochs=3, keep=0.9)
    assert list(chooser.asked) == ["unlearner", "salun.lr", "salun.epochs", "salun.keep"]
    assert chooser.asked["unlearner"] == Choice(NAMES)
    assert chooser.asked["salun.keep"] == SalUn.space["keep"]


def test_v1_is_the_same_on_each_subset():
    chooser = Chooser({"unlearner": "neggrad+"})
    plan = space("V1", retain="final").plan(chooser)
    assert plan.partition == PARTITION
    assert plan.retain == "final"
    expected = NegGradPlus(lr=0.2, epochs=10, alpha=0.999)
    assert [step.unlearner for step in plan.steps] == [expected] * 3
    assert list(chooser.asked) == ["unlearner", "neggrad+.lr", "neggrad+.epochs", "neggrad+.alpha"]


def test_v2_asks_for_the_order_too():
    chooser = Chooser({"medium.place": 1, "high.place": 2, "unlearner": "finetune"})
    plan = space("V2").plan(chooser)
    order = PARTITION.ordered(["medium", "high", "low"])
    assert plan == Plan.assign(order, dict.fromkeys(order.names, FineTune(lr=0.2, epochs=10)))
    assert list(chooser.asked) == [
        "medium.place", "high.place", "unlearner", "finetune.lr", "finetune.epochs"
    ]  # fmt: skip
    assert chooser.asked["medium.place"] == Integers(1, 2)
    assert chooser.asked["high.place"] == Integers(1, 3)


def test_v3_gives_each_subset_an_unlearner_with_its_defaults():
    answers = {"medium.place": 2, "high.place": 1, "high.unlearner": "salun"}
    chooser = Chooser({**answers, "medium.unlearner": "neggrad+"})
    plan = space("V3").plan(chooser)
    order = PARTITION.ordered(["high", "low", "medium"])
    expected = {"low": Nothing(), "medium": NegGradPlus(), "high": SalUn()}
    assert plan == Plan.assign(order, expected)
    unlearners = ["high.unlearner", "low.unlearner", "medium.unlearner"]
    assert list(chooser.asked) == ["medium.place", "high.place", *unlearners]


def test_v4_asks_for_each_subset_on_its_own():
    answers = {"medium.unlearner": "finetune", "high.unlearner": "salun", "high.salun.lr": 0.01}
    chooser = Chooser({**answers, "medium.place": 2, "high.place": 1})
    plan = space("V4").plan(chooser)
    assert plan == Plan.assign(
        PARTITION.ordered(["high", "low", "medium"]),
        {
            "low": Nothing(),
            "medium": FineTune(lr=0.2, epochs=10),
            "high": SalUn(lr=0.01, epochs=10, keep=0.9),
        },
    )
    assert list(chooser.asked) == [
        "medium.place",
        "high.place",
        "high.unlearner",
        "high.salun.lr",
        "high.salun.epochs",
        "high.salun.keep",
        "low.unlearner",
        "medium.unlearner",
        "medium.finetune.lr",
        "medium.finetune.epochs",
    ]


@pytest.mark.parametrize("name", FREE)
def test_unlearners_not_chosen_have_no_questions(name):
    chooser = Chooser()
    plan = space(name, ordered=True).plan(chooser)
    assert all(step.unlearner == Nothing() for step in plan.steps)
    asked = [question for question in chooser.asked if not question.endswith("joins")]
    assert all(question.endswith("unlearner") for question in asked)
    assert len(asked) == (3 if name in ("V3", "V4", "V5") else 1)


@pytest.mark.parametrize("name", FREE)
def test_a_fixed_order_has_no_questions(name):
    ordered, free = space(name, ordered=True), space(name)
    for number in range(50):
        plan = ordered.plan(chooser := Drawer(number))
        assert not any(asked.endswith("place") for asked in chooser.asked)
        names = "+".join(named(plan)).split("+")
        assert names == ["all"] if name == "V0" else names in (["all"], ["low", "medium", "high"])
    free.plan(chooser := Drawer(0))
    places = {asked for asked in chooser.asked if asked.endswith("place")}
    assert len(places) == (2 if "order" in FREE[name] else 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_order_has_one_set_of_answers(count):
    ours = space("V2", subsets(count))
    questions = [[(f"s{k}.place", place) for place in range(1, k + 2)] for k in range(1, count)]
    orders = [tuple(named(ours.plan(Chooser(dict(a))))) for a in itertools.product(*questions)]
    assert sorted(orders) == sorted(itertools.permutations(ours.partition.names))


def test_orders_are_drawn_uniformly():
    ours, draws = space("V3"), 3000
    counted = Counter(tuple(named(ours.plan(Drawer(k)))) for k in range(draws))
    assert len(counted) == 6
    # Three standard deviations of a binomial count are 61.
    assert all(abs(count - draws / 6) < 75 for count in counted.values())


@variants
@pytest.mark.parametrize(
    ("inner", "outer"), [("V1", "V2"), ("V1", "V4"), ("V2", "V4"), ("V3", "V4")]
)
def test_spaces_are_nested(inner, outer, variant):
    assert FREE[inner] < FREE[outer]
    inside, around = space(inner, **variant), space(outer, **variant)
    for number in range(200):
        plan = inside.plan(Drawer(number))
        assert around.plan(Chooser(around.answers(plan))) == plan


@pytest.mark.parametrize(
    ("outer", "inner"), [("V2", "V1"), ("V4", "V2"), ("V4", "V3"), ("V3", "V2"), ("V2", "V3")]
)
def test_a_larger_space_has_more_plans(outer, inner):
    around, inside = space(outer), space(inner)
    plans = [around.plan(Drawer(number)) for number in range(50)]

    def lies_inside(plan) -> bool:
        try:
            inside.answers(plan)
        except PlanError:
            return False
        return True

    assert not all(map(lies_inside, plans))


@variants
@pytest.mark.parametrize("name", ["V1", "V2", "V3", "V4"])
def test_answers_make_the_plan_again(name, variant):
    ours = space(name, **variant)
    for number in range(200):
        plan = ours.plan(drawn := Drawer(number))
        found = ours.answers(plan)
        assert found.keys() == drawn.answers.keys()
        assert ours.plan(Chooser(found)) == plan
        if ours.grid is None:
            assert found == drawn.answers


@variants
@pytest.mark.parametrize("name", FREE)
def test_a_question_has_one_domain_whatever_the_answers(name, variant):
    ours, domains = space(name, **variant), {}
    for number in range(300):
        ours.plan(drawn := Drawer(number))
        for question, domain in drawn.asked.items():
            assert domains.setdefault(question, domain) == domain


@pytest.mark.parametrize("name", FREE)
def test_a_narrowed_space_is_respected(name):
    ours = space(name, candidates=NARROWED)
    seen = Counter()
    for number in range(1000):
        for step in ours.plan(Drawer(number)).steps:
            unlearner = step.unlearner
            seen[unlearner.name] += 1
            if isinstance(unlearner, FineTune):
                assert 0.05 <= unlearner.lr <= 0.1
                assert unlearner.epochs in (1, 3)
            elif isinstance(unlearner, SalUn):
                assert 0.2 <= unlearner.keep <= 0.3
                assert unlearner.epochs in (6, 7)
                assert unlearner.batch_size == 32
            else:
                assert (type(unlearner), unlearner.lr) == (Scrub, 0.002)
                assert unlearner.gamma in (0.95, 0.91)
    assert len(seen) == 3


def test_v3_respects_narrowed_domains():
    candidates = (Candidate("salun", {"lr": LogUniform(0.05, 0.1), "epochs": Choice((1, 4))}),)
    plan = space("V3", candidates=candidates).plan(Chooser())
    assert {step.unlearner for step in plan.steps} == {SalUn(lr=0.05, epochs=4)}


@pytest.mark.parametrize("name", ["V1", "V2", "V3", "V4"])
def test_a_fixed_step_is_not_asked_for(name):
    ours = space(name, steps=STEPS)
    for number in range(100):
        plan = ours.plan(drawn := Drawer(number))
        assert {s.subset.name: s.unlearner for s in plan.steps}["medium"] == SalUn(lr=0.5)
        assert not any(q.startswith("medium.") and q != "medium.place" for q in drawn.asked)


def test_fixed_steps_may_leave_the_order_only_or_nothing():
    steps = {"low": Nothing(), "medium": FineTune(), "high": SalUn()}
    for name in ("V1", "V2", "V3", "V4"):
        space(name, steps=steps).plan(chooser := Chooser())
        asked = [] if name == "V1" else ["medium.place", "high.place"]
        assert list(chooser.asked) == asked
        assert space(name, steps=steps, ordered=True).plan(Chooser()) == Plan.assign(
            PARTITION, steps
        )
    # The whole forget set is no subset, so none of its steps is fixed.
    space("V0", steps=steps).plan(chooser := Chooser())
    assert list(chooser.asked) == ["unlearner"]


@pytest.mark.parametrize("name", ["V1", "V2", "V3", "V4"])
def test_the_first_searched_step_comes_from_a_grid(name):
    ours = space(name, grid=3, candidates=(Candidate("salun"),), steps={"low": Nothing()})
    domains, first, later = SalUn.space, [], []
    for number in range(300):
        steps = [s for s in ours.plan(Drawer(number)).steps if s.subset.name != "low"]
        last = ours.plan(Drawer(number)).steps[-1].subset.name
        if steps[0].subset.name != last:
            first.append(steps[0].unlearner)
            later += [s.unlearner for s in steps[1:]]
    for key, domain in domains.items():
        grid = {getattr(unlearner, key) for unlearner in first}
        assert len(grid) == (1 if name == "V3" else 3)
        assert all(value == snap_to_grid(domain, value, 3) for value in grid)
    # A single unlearner is that of the first step; later ones of V3 have their defaults.
    assert len({u.lr for u in later}) == {"V1": 3, "V2": 3, "V3": 1, "V4": len(later)}[name]


def test_an_idle_step_is_not_the_first():
    ours = space("V4", grid=2)
    for number in range(300):
        steps = [s.unlearner for s in ours.plan(Drawer(number)).steps]
        alike = [all(snap_to_grid(d, getattr(u, k), 2) == getattr(u, k) for k, d in u.space.items())
                 for u in steps]  # fmt: skip
        active = [not isinstance(unlearner, Nothing) for unlearner in steps]
        if True in active[:2]:
            first = active.index(True)
            assert alike[: first + 1] == [True] * (first + 1)
            assert not any(alike[k] and active[k] for k in range(first + 1, 3))


def test_no_grid_where_no_step_follows():
    for ours in (space("V0", grid=3), space("V4", subsets(1), grid=3)):
        rates = {
            step.unlearner.lr
            for number in range(100)
            for step in ours.plan(Drawer(number)).steps
            if not isinstance(step.unlearner, Nothing)
        }
        assert len(rates) > 50


BOUNDED = ({"partition": PARTITION}, {"steps": STEPS}, {"candidates": NARROWED}, {"grid": 2})


@pytest.mark.parametrize("variant", BOUNDED)
@pytest.mark.parametrize("retain", ["remaining", "final"])
@pytest.mark.parametrize("name", FREE)
def test_no_plan_costs_less_than_the_bound(name, retain, variant):
    some = tuple(map(Candidate, sorted(UNLEARNERS.keys() - {"nothing", "retrain"})))
    ours = space(name, **{"candidates": some, "retain": retain, **variant})
    least = ours.least_cost(1000)
    costs = [ours.plan(Drawer(number)).cost(1000) for number in range(500)]
    assert 0 < least <= min(costs)


@pytest.mark.parametrize("name", ["V0", "V1", "V4"])
def test_the_bound_is_exact_for_the_final_retain_set(name):
    ours = space(name, candidates=NARROWED, retain="final", ordered=True)
    retained, sizes = 1000 - 6, {"V0": (6,)}.get(name, (2, 2, 2))
    # Salun takes at least 6 epochs, scrub 4/3 of an epoch: fine-tuning for one is the cheapest.
    assert ours.least_cost(1000) == len(sizes) * retained
    cheap = [ours.plan(Drawer(k)).cost(1000) for k in range(500)]
    assert min(cheap) == ours.least_cost(1000)


def test_the_bound_counts_fixed_steps_and_defaults():
    salun = SalUn(lr=0.5)
    ours = space("V4", steps={"medium": salun}, retain="final")
    assert ours.least_cost(1000) == salun.cost(2, 994)
    untuned = space("V3", candidates=(Candidate("finetune"),), retain="final")
    assert untuned.least_cost(1000) == 3 * FineTune().cost(2, 994)


OUTSIDE = {
    "V2, two": ("V2", {"low": FineTune()}, {}, "'high' is nothing, .* is finetune"),
    "V1, reversed": ("V1", {}, {}, "it unlearns 'high' where the space unlearns 'low'"),
    "V3, tuned": ("V3", {"low": FineTune(lr=0.1)}, {}, "lr of 'low' is 0.1 .* 0.01"),
    "value": (
        "V4",
        {"high": SalUn(lr=0.5)},
        {},
        r"high.salun.lr is 0.5, and may be 0.01 to",
    ),
    "field": ("V4", {"high": SalUn(momentum=0)}, {}, "momentum of 'high' is 0 .* 0.9"),
    "unlearner": ("V4", {"high": Scrub()}, {}, "high.unlearner is scrub, and may be nothing, fin"),
    "order": ("V4", {}, {"ordered": True}, "it unlearns 'high' where the space unlearns 'low'"),
    "step": ("V4", {}, {"steps": STEPS}, "'medium' is nothing, .* is salun"),
    "grid": ("V4", {"high": FineTune(lr=0.05)}, {"grid": 3}, "lr of 'high' is 0.05 .* 0.0"),
    "no space": (
        "V4",
        {"high": Secret()},
        {},
        "high.unlearner is secret, and may be nothing, fine",
    ),
    "whole": ("V0", {}, {}, "it unlearns 'high' where the space unlearns 'all'"),
}


@pytest.mark.parametrize(("name", "changed", "variant", "message"), OUTSIDE.values(), ids=OUTSIDE)
def test_a_plan_outside_of_a_space_is_an_error_with_its_place(name, changed, variant, message):
    assignment = {**dict.fromkeys(PARTITION.names, Nothing()), **changed}
    plan = Plan.assign(PARTITION.reversed(), assignment)
    with pytest.raises(PlanError, match=message):
        space(name, **variant).answers(plan)


def test_the_same_answers_give_the_same_plan():
    for name in FREE:
        assert space(name).plan(Drawer(1)) == space(name).plan(Drawer(1))


def test_the_whole_set_is_one_subset():
    [subset] = whole(PARTITION)
    assert (subset.name, subset.rows.tolist()) == ("all", PARTITION.rows.tolist())


def test_every_space_of_every_unlearner_can_be_searched():
    for name, kind in UNLEARNERS.items():
        if name != "retrain":
            [step] = space("V0", candidates=(Candidate(name),)).plan(Chooser()).steps
            assert type(step.unlearner) is kind
