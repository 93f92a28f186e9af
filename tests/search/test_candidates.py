import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest

from rum_ray.digest import digest
from rum_ray.errors import ConfigError
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice, Integers, LogUniform, Uniform
from rum_ray.unlearning import UNLEARNERS, FineTune, Influence, SalUn


@dataclass(frozen=True, kw_only=True)
class Worded(FineTune):
    """A plug-in with a choice."""

    name: ClassVar[str] = "worded"
    space: ClassVar = {"order": Choice(("first", "last"))}
    order: str = "last"


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A plug-in that no search can use."""

    name: ClassVar[str] = "secret"

    def __call__(self, model, task, runtime):
        return model

    def cost(self, forget, retain):
        return 0.0


def test_a_candidate_has_the_declared_domains():
    candidate = Candidate("salun")
    assert (candidate.kind, candidate.domains, candidate.fixed) == (SalUn, SalUn.space, {})
    assert candidate.unlearner(candidate.defaults) == SalUn()


def test_a_candidate_may_be_narrowed():
    narrowed = {"lr": LogUniform(0.05, 0.1), "keep": 0.7, "mask": "official"}
    candidate = Candidate("salun", narrowed)
    assert candidate.domains == {"lr": LogUniform(0.05, 0.1), "epochs": Integers(1, 10)}
    assert candidate.defaults == {"lr": 0.05, "epochs": 5}
    made = candidate.unlearner({"lr": 0.06, "epochs": 2})
    assert made == SalUn(lr=0.06, epochs=2, keep=0.7, mask="official")
    lowest, highest = {"lr": 0.05, "epochs": 1}, {"lr": 0.1, "epochs": 10}
    corners = list(candidate.corners())
    assert (corners[0], corners[-1], len(corners)) == (lowest, highest, 4)


def test_every_option_of_a_choice_is_a_corner():
    candidate = Candidate("salun", {"epochs": Choice((1, 7, 3)), "lr": 0.1, "keep": 0.5})
    assert [corner["epochs"] for corner in candidate.corners()] == [1, 7, 3]


def test_a_candidate_without_values_is_one_unlearner():
    candidate = Candidate("nothing")
    assert (list(candidate.corners()), candidate.defaults) == ([{}], {})


@pytest.mark.parametrize("name", sorted(UNLEARNERS.keys() - {"retrain"}))
def test_the_defaults_of_every_unlearner_can_be_chosen(name):
    candidate = Candidate(name)
    assert candidate.unlearner(candidate.defaults) == UNLEARNERS[name]()


def test_a_candidate_is_a_value():
    candidate = Candidate("salun", {"lr": LogUniform(0.05, 0.1)})
    assert pickle.loads(pickle.dumps(candidate)) == candidate
    others = [Candidate("salun"), Candidate("salun", {"lr": 0.05}), Candidate("ct")]
    assert len({digest(value) for value in (candidate, *others)}) == 4


WRONG = [
    ("retrain", {}, r"^retrain .*reference"),
    (f"{__name__}:Secret", {}, r"test_candidates:Secret .*`space`"),
    ("salum", {}, r"^unknown unlearner 'salum'"),
    ("salun", {"lr": Uniform(0.01, 0.1)}, r"^salun\.lr .*LogUniform or a Choice; got Un"),
    ("salun", {"epochs": LogUniform(1, 2)}, r"^salun\.epochs .*Integers"),
    ("salun", {"lr": LogUniform(0.1, 0.01)}, r"^salun\.lr: .* 0\.1 and 0\.01"),
    ("salun", {"lr": LogUniform(0.0, 1)}, r"^salun\.lr may be any rate above 0; got 0\.0\.$"),
    ("salun", {"keep": Uniform(0.5, 2)}, r"^salun\.keep may be 0\.1 to 0\.9; got 2\.$"),
    ("salun", {"epochs": True}, r"^salun\.epochs may be 1 to 10; got True\.$"),
    ("salun", {"epochs": Choice(())}, r"^salun\.epochs: .* got \[\]"),
    ("salun", {"epochs": Choice((1, 1))}, r"^salun\.epochs: .* got \[1, 1\]"),
    ("salun", {"batch_size": Integers(1, 2)}, r"^salun\.batch_size .* got Integers"),
    (f"{__name__}:Worded", {"order": "middle"}, r"Worded\.order may be first, last; got middle"),
]


@pytest.mark.parametrize(("name", "narrowed", "message"), WRONG)
def test_invalid_candidates_are_errors(name, narrowed, message):
    with pytest.raises(ConfigError, match=message):
        Candidate(name, narrowed)


def test_a_plug_in_is_named_by_module():
    candidate = Candidate(f"{__name__}:Worded")
    assert (candidate.kind.name, candidate.defaults) == ("worded", {"order": "last"})
    assert Candidate(f"{__name__}:Worded", {"order": Choice(("first",))}).defaults == {
        "order": "first"
    }


def test_influence_has_a_mode_that_can_be_fixed():
    candidate = Candidate("influence", {"mode": "fisher"})
    assert candidate.unlearner({"alpha": 2.0}) == Influence(alpha=2.0, mode="fisher")


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_declared_rates_follow_the_recipe_and_narrowed_ones_do_not(rate):
    declared = SalUn.space["lr"]
    scaled = Candidate("salun").at_rate(rate).domains["lr"]
    assert type(scaled) is LogUniform
    assert scaled.low / rate == pytest.approx(declared.low / declared.AT)
    assert scaled.high / rate == pytest.approx(declared.high / declared.AT)
    for part in (LogUniform(0.05, 0.1), Choice((0.3, 3.0)), 7.0):
        candidate = Candidate("salun", {"lr": part})
        assert candidate.at_rate(rate) == candidate


def test_defaults_lie_in_the_domain_of_the_recipe():
    low = Candidate("salun").at_rate(1e-3)
    assert low.defaults["lr"] == low.domains["lr"].high < SalUn().lr


def test_a_tested_domain_ends_at_a_rate():
    candidate = Candidate("salun").at_rate(0.1).below("lr", 0.05)
    assert candidate.domains["lr"] == LogUniform(SalUn.space["lr"].low, 0.05)
    assert candidate.domains["epochs"] == SalUn.space["epochs"]
