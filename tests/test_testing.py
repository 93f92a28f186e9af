"""The conformance suites detect broken unlearners and proxies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from rum_ray.scores import PROXIES, Scores
from rum_ray.scores.heldout import Heldout
from rum_ray.seeding import Seed
from rum_ray.testing import CrashingRuntime, ProxyContract, UnlearnerContract, counting
from rum_ray.training.domains import Domain, LogUniform
from rum_ray.unlearning import FineTune, Nothing

FAILURES = (Exception, pytest.fail.Exception)


@dataclass(frozen=True, kw_only=True)
class Sound(FineTune):
    epochs: int = 2

    def __call__(self, model, task, runtime):
        return self.after(super().__call__(self.before(model), task, runtime), model)

    def before(self, model):
        return model

    def after(self, result, model):
        return result


class ChangesItsInput(Sound):
    def before(self, model):
        model.head.bias.data += 1
        return model


class TrainsItsInput(Sound):
    def before(self, model):
        return model.train()


class SharesMemory(Sound):
    def after(self, result, model):
        result.head.bias = model.head.bias
        return result


class EndsInTrainMode(Sound):
    def after(self, result, model):
        result.features[1].train()
        return result


class NotFinite(Sound):
    def after(self, result, model):
        result.head.bias.data[0] = float("nan")
        return result


class GlobalDraws(Sound):
    def after(self, result, model):
        result.head.bias.data += torch.rand(10)
        return result


class Different(Sound):
    calls: ClassVar[list[int]] = []

    def after(self, result, model):
        self.calls.append(1)
        result.head.bias.data += len(self.calls)
        return result


class LosesMomentum(Sound):
    def __call__(self, model, task, runtime):
        class Without(CrashingRuntime):
            def epochs(self, total, **state):
                del state["optimizer"]
                return super().epochs(total, **state)

        return FineTune.__call__(self, model, task, Without(**vars(runtime)))


@dataclass
class NotFrozen:
    name: ClassVar[str] = "mutable"
    lr: float = 0.1


class Anything(Nothing):
    def __call__(self, model, task, runtime):
        return nn.Linear(1, 1).eval()


class TooCheap(Sound):
    def cost(self, forget, retain):
        return 0.95 * super().cost(forget, retain)


class UnknownKey(Sound):
    space: ClassVar[Mapping[str, Domain]] = {"speed": LogUniform(0.1, 1)}


class InvalidEnd(Sound):
    space: ClassVar[Mapping[str, Domain]] = {"lr": LogUniform(0.0, 1)}


BROKEN = [
    ("it_ends_in_eval_mode_and_finite", ChangesItsInput, "input model"),
    ("it_ends_in_eval_mode_and_finite", TrainsItsInput, "changed the mode"),
    ("it_ends_in_eval_mode_and_finite", SharesMemory, "shares memory"),
    ("it_ends_in_eval_mode_and_finite", EndsInTrainMode, "in train mode"),
    ("it_ends_in_eval_mode_and_finite", NotFinite, "not finite"),
    ("the_same_seed_gives_the_same_bits", GlobalDraws, "global generator"),
    ("the_same_seed_gives_the_same_bits", Different, "two runs differ"),
    ("a_crash_after_any_epoch_changes_no_bit", LosesMomentum, "crash after epoch 1 changes"),
    ("it_is_an_immutable_value", NotFrozen, "unhashable"),
    ("an_empty_set_is_an_error", Anything, "DID NOT RAISE"),
    ("its_cost_counts_examples_through_models", TooCheap, r"285\.0 == 300\.0"),
    ("its_search_space_is_valid", UnknownKey, "unexpected keyword argument 'speed'"),
    ("its_search_space_is_valid", InvalidEnd, "lr must be positive"),
]


@pytest.mark.parametrize(("law", "kind", "message"), BROKEN)
def test_a_broken_unlearner_fails_its_contract(law, kind, message):
    test = getattr(UnlearnerContract(), f"test_{law}")
    with pytest.raises(FAILURES, match=message):
        test(kind())
    test(Sound())


def wrong_sign(scores):
    return Scores(-scores.values)


def one_less(scores):
    return Scores(scores.values[1:])


def unknown(scores):
    return Scores(np.where(np.arange(1200) == 7, np.nan, scores.values))


def at_random(scores):
    return Scores(scores.values + np.random.default_rng().uniform(size=1200))


@pytest.mark.parametrize(
    ("law", "break_it", "message"),
    [
        ("the_same_seed_gives_the_same_bits", one_less, "one score per example"),
        ("the_same_seed_gives_the_same_bits", unknown, "a score is unknown"),
        ("the_same_seed_gives_the_same_bits", at_random, "two runs differ"),
        ("higher_is_harder", wrong_sign, "scores lower"),
    ],
)
def test_a_broken_proxy_fails_its_contract(law, break_it, message):
    suite, sound = ProxyContract(), PROXIES["confidence"]()
    suite.recipe = replace(suite.recipe, epochs=3)
    noise = (0.1,) if law == "higher_is_harder" else ()
    with pytest.raises(AssertionError, match=message):
        getattr(suite, f"test_{law}")(lambda *arguments: break_it(sound(*arguments)), *noise)


def test_a_proxy_that_understates_its_cost_fails_its_contract():
    class TooCheap(Heldout):
        def cost(self, bundle, recipe):
            return recipe.epochs * len(bundle.train)

    with pytest.raises(AssertionError, match="cost is too low"):
        ProxyContract().test_its_cost_counts_examples_through_models(TooCheap())


def test_counting_counts_examples_per_direction():
    inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    model = nn.Sequential(inner, nn.Linear(3, 2))
    with counting() as passes:
        model(torch.zeros(5, 3)).sum().backward()
        with torch.no_grad():
            model(torch.zeros(7, 3))
        model(torch.zeros(1, 3))
    model(torch.zeros(100, 3))
    assert (passes["forward"], passes["backward"]) == (13, 5)


def test_a_crashing_runtime_counts_over_all_loops():
    seen, state = [], nn.Linear(1, 1)
    runtime = CrashingRuntime(Seed(0), crash=3)

    def work(runtime):
        for part in ("a", "b"):
            for epoch in (runtime / part).epochs(2, model=state):
                seen.append((part, epoch))
                state.bias.data += 1

    with torch.no_grad():
        state.bias.fill_(0)
    with pytest.raises(InterruptedError):
        work(runtime)
    assert seen == [("a", 0), ("a", 1), ("b", 0)]
    with torch.no_grad():
        state.bias.fill_(-100)
    work(replace(runtime, crash=None))
    assert seen[3:] == [("b", 1)]
    assert float(state.bias.detach()) == 4
