import pytest

from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search.spaces import Space, whole
from rum_ray.training.space import Choice, Integers, LogUniform, Uniform
from rum_ray.unlearning import UNLEARNERS, FineTune, NegGradPlus, Nothing, SalUn

PARTITION = refine(range(0, 12, 2), Scores([0.1] * 12))
NAMES = ("nothing", "finetune", "neggrad+", "salun")
SOME = {name: UNLEARNERS[name] for name in NAMES}


class Chooser:
    """Answers by name, else with an end of the domain; and notes what it was asked."""

    def __init__(self, answers=None) -> None:
        self.answers, self.asked = answers or {}, {}

    def __call__(self, name, domain):
        assert name not in self.asked, f"{name} was asked twice"
        assert isinstance(domain, Choice | Integers | LogUniform | Uniform)
        self.asked[name] = domain
        if name in self.answers:
            return self.answers[name]
        return domain.options[0] if isinstance(domain, Choice) else domain.high


def test_v0_is_one_unlearner_on_the_whole_set():
    chooser = Chooser({"unlearner": "salun", "salun.epochs": 3})
    plan = Space("V0", SOME, PARTITION).plan(chooser)
    [step] = plan.steps
    assert (step.subset.name, step.subset.rows.tolist()) == ("all", [0, 2, 4, 6, 8, 10])
    assert step.unlearner == SalUn(lr=0.2, epochs=3, keep=0.9)
    assert list(chooser.asked) == ["unlearner", "salun.lr", "salun.epochs", "salun.keep"]
    assert chooser.asked["unlearner"] == Choice(NAMES)
    assert chooser.asked["salun.keep"] == SalUn.space["keep"]


def test_v1_is_the_same_on_each_subset():
    chooser = Chooser({"unlearner": "neggrad+"})
    plan = Space("V1", SOME, PARTITION, "final").plan(chooser)
    assert plan.partition == PARTITION
    assert plan.retain == "final"
    expected = NegGradPlus(lr=0.2, epochs=10, alpha=0.999)
    assert [step.unlearner for step in plan.steps] == [expected] * 3
    assert list(chooser.asked) == ["unlearner", "neggrad+.lr", "neggrad+.epochs", "neggrad+.alpha"]


def test_v4_asks_for_each_subset_on_its_own():
    answers = {"medium.unlearner": "finetune", "high.unlearner": "salun", "high.salun.lr": 0.01}
    chooser = Chooser(answers)
    plan = Space("V4", SOME, PARTITION).plan(chooser)
    assert plan == Plan.assign(
        PARTITION,
        {
            "low": Nothing(),
            "medium": FineTune(lr=0.2, epochs=10),
            "high": SalUn(lr=0.01, epochs=10, keep=0.9),
        },
    )
    assert list(chooser.asked) == [
        "low.unlearner",
        "medium.unlearner",
        "medium.finetune.lr",
        "medium.finetune.epochs",
        "high.unlearner",
        "high.salun.lr",
        "high.salun.epochs",
        "high.salun.keep",
    ]


@pytest.mark.parametrize("name", ["V0", "V1", "V4"])
def test_what_was_not_chosen_is_not_asked_about(name):
    chooser = Chooser()
    plan = Space(name, SOME, PARTITION).plan(chooser)
    assert all(step.unlearner == Nothing() for step in plan.steps)
    assert all(asked.endswith("unlearner") for asked in chooser.asked)
    assert len(chooser.asked) == (3 if name == "V4" else 1)


def test_the_same_answers_give_the_same_plan():
    for name in ("V0", "V1", "V4"):
        space = Space(name, SOME, PARTITION)
        assert space.plan(Chooser()) == space.plan(Chooser())


def test_the_whole_set_is_one_subset():
    [subset] = whole(PARTITION)
    assert (subset.name, subset.rows.tolist()) == ("all", PARTITION.rows.tolist())


def test_every_space_of_every_unlearner_can_be_searched():
    for name, kind in UNLEARNERS.items():
        [step] = Space("V0", {name: kind}, PARTITION).plan(Chooser()).steps
        assert type(step.unlearner) is kind
