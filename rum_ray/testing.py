"""Conformance suites: subclass one in a test, give it a fixture, and pytest does the rest.

class TestMine(UnlearnerContract):
    @pytest.fixture
    def unlearner(self):
        return Mine(strength=2.0)
"""

import contextlib
import copy
import functools
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks
from typing_extensions import override

from rum_ray.data import load
from rum_ray.errors import PlanError
from rum_ray.models import Classifier
from rum_ray.scores.base import Proxy
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe, Runtime, Stateful
from rum_ray.unlearning.base import FORWARD_ONLY, Unlearner, UnlearningTask

load = functools.cache(load)


@dataclass(frozen=True)
class CrashingRuntime(LocalRuntime):
    """Keeps the state in memory after each epoch, and raises `InterruptedError` after one.

    Attributes:
        crash: after how many epochs it raises, of all loops together; None is never.
        kept: by loop, the next epoch and the state; `replace(runtime, crash=None)` goes on there.
    """

    crash: int | None = None
    kept: dict[Seed, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @override
    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the epochs that are left, and keep the state after each."""
        start, kept = copy.deepcopy(self.kept.get(self.seed, (0, {})))
        for name, values in kept.items():
            state[name].load_state_dict(values)
        for epoch in range(start, total):
            yield epoch
            kept = {name: copy.deepcopy(part.state_dict()) for name, part in state.items()}
            self.kept[self.seed] = epoch + 1, kept
            if sum(epochs for epochs, _ in self.kept.values()) == self.crash:
                raise InterruptedError


@contextlib.contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the examples that go "forward" and "backward" through any model in here."""
    passes: Counter[str] = Counter(depth=0)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        passes["depth"] -= 1
        if not passes["depth"]:
            passes["forward"] += len(output)
            if output.requires_grad:
                output.register_hook(lambda gradient: passes.update(backward=len(gradient)))

    with contextlib.ExitStack() as stack:
        entered = hooks.register_module_forward_pre_hook(lambda *_: passes.update(depth=1))
        stack.callback(entered.remove)
        stack.callback(hooks.register_module_forward_hook(leave, always_call=True).remove)
        yield passes


def sensitive_model(seed: int) -> nn.Module:
    """Return a network that batches (normalisation), modes and draws (dropout) all change."""
    with Seed(seed).torch():
        convolution = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
        layers = (convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))
        return Classifier(nn.Sequential(*layers), nn.Linear(8 * 16, 10)).eval()


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two models have the same parameters and buffers, bit for bit."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def memory(model: nn.Module) -> set[int]:
    """Return where a model's parameters and buffers lie."""
    return {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}


class UnlearnerContract:
    """What every unlearner keeps to; a subclass gives the fixture `unlearner`."""

    forget, retain = range(30), range(90, 240)

    def unlearn(self, unlearner: Unlearner, runtime: Runtime | None = None) -> nn.Module:
        """Return the result, once all that it was given is as it was: each bit, mode, gradient."""
        data = load("digits").train
        task = UnlearningTask(data.take(self.forget), data.take(self.retain), sensitive_model(0))
        model, before = sensitive_model(1), [t.clone() for t in (task.forget.x, task.retain.y)]
        result = unlearner(model, task, runtime or LocalRuntime(Seed(0)))
        assert all(map(torch.equal, before, (task.forget.x, task.retain.y))), "it changed the data"
        for seed, given in ((1, model), (0, task.original)):
            assert same_bits(given, sensitive_model(seed)), "it changed a model it was given"
            assert not any(m.training for m in given.modules()), "it changed the mode"
            assert all(p.requires_grad and p.grad is None for p in given.parameters())
            assert not memory(given) & memory(result), "the result shares memory with a model"
        return result

    def test_it_ends_in_eval_mode_and_finite(self, unlearner: Unlearner) -> None:
        """And leaves what it was given as it was."""
        result = self.unlearn(unlearner)
        assert not any(m.training for m in result.modules()), "it ends in train mode"
        assert all(bool(p.isfinite().all()) for p in result.parameters()), "it is not finite"

    def test_the_same_seed_gives_the_same_bits(self, unlearner: Unlearner) -> None:
        """Whatever the state of torch's global generator, which stays as it is."""
        with torch.random.fork_rng():
            state = torch.manual_seed(1).get_state()
            first = self.unlearn(unlearner)
            assert torch.equal(state, torch.get_rng_state()), "it moved the global generator"
            torch.manual_seed(2)
            assert same_bits(first, self.unlearn(unlearner)), "two runs differ"

    def test_a_crash_after_any_epoch_changes_no_bit(self, unlearner: Unlearner) -> None:
        """What `runtime.epochs` was given is all the state there is."""
        expected = self.unlearn(unlearner, whole := CrashingRuntime(Seed(0)))
        for epochs in range(1, 1 + sum(done for done, _ in whole.kept.values())):
            runtime = CrashingRuntime(Seed(0), crash=epochs)
            with pytest.raises(InterruptedError):
                self.unlearn(unlearner, runtime)
            resumed = self.unlearn(unlearner, replace(runtime, crash=None))
            assert same_bits(resumed, expected), f"a crash after epoch {epochs} changes the result"

    def test_it_is_a_value(self, unlearner: Unlearner) -> None:
        """Equal, hashable, picklable, frozen; every field has a default."""
        for twin in (copy.deepcopy(unlearner), pickle.loads(pickle.dumps(unlearner))):
            assert (twin, hash(twin)) == (unlearner, hash(unlearner))
        with pytest.raises(FrozenInstanceError):
            unlearner.name = "other"  # type: ignore[misc]
        assert type(unlearner)().name == unlearner.name

    def test_an_empty_set_is_an_error(self, unlearner: Unlearner) -> None:
        """It has nothing to forget, or nothing to keep."""
        data, model = load("digits").train, sensitive_model(0)
        for part, given, kept in (("forget", 0, 1), ("retain", 1, 0)):
            task = UnlearningTask(data.take(range(given)), data.take(range(kept)), model)
            with pytest.raises(PlanError, match=f"{part} set"):
                unlearner(model, task, LocalRuntime(Seed(0)))

    def test_its_cost_is_what_goes_through_models(self, unlearner: Unlearner) -> None:
        """The model, a teacher, the original: to 1 %, for a look at a single example is free."""
        with counting() as passes:
            self.unlearn(unlearner)
        measured = passes["backward"] * (1 - FORWARD_ONLY) + passes["forward"] * FORWARD_ONLY
        assert unlearner.cost(len(self.forget), len(self.retain)) == pytest.approx(measured, 0.01)

    def test_its_search_space_is_valid(self, unlearner: Unlearner) -> None:
        """Every key is a field, and takes the ends of its domain (of a choice, all options)."""
        for name, domain in unlearner.space.items():
            for end in getattr(domain, "options", None) or vars(domain).values():
                assert getattr(type(unlearner)(**{name: end}), name) == end


class ProxyContract:
    """What every proxy keeps to; a subclass gives the fixture `proxy`, perhaps another recipe."""

    recipe = Recipe("mlp", epochs=15, batch_size=64)

    def test_its_cost_is_what_goes_through_models(self, proxy: Proxy) -> None:
        """To 1 %, or less where it stops early; a proxy that has no `cost` trains once."""
        bundle, recipe = load("digits"), replace(self.recipe, epochs=4)
        with counting() as passes:
            proxy(bundle, recipe, LocalRuntime(Seed(0)))
        measured = passes["backward"] * (1 - FORWARD_ONLY) + passes["forward"] * FORWARD_ONLY
        training = float(recipe.epochs * len(bundle.train))
        cost = proxy.cost(bundle, recipe) if hasattr(proxy, "cost") else training
        assert 0.99 * training <= measured <= 1.01 * cost, "its cost is not what it says"
        assert cost <= 2 * measured, "its cost is not what it says"

    def test_the_same_seed_gives_the_same_bits(self, proxy: Proxy) -> None:
        """One known number an example; the same ones after a crash."""
        crashing = CrashingRuntime(Seed(0), crash=2)
        with contextlib.suppress(InterruptedError):
            proxy(load("digits"), self.recipe, crashing)
        runtimes = (LocalRuntime(Seed(0)), replace(crashing, crash=None))
        runs = np.array([proxy(load("digits"), self.recipe, r).values for r in runtimes])
        assert runs.shape == (2, 1200), "there must be one score an example"
        assert (runs[0] == runs[1]).all(), "two runs differ, or a score is unknown"

    @pytest.mark.parametrize("label_noise", [0.1, 0.0])
    def test_higher_is_harder(self, proxy: Proxy, label_noise: float) -> None:
        """Noisy labels score higher; without noise, what looks like another class."""
        bundle = load("digits", label_noise=label_noise)
        x, y = bundle.train.x.flatten(1), bundle.train.y
        distances = torch.cdist(x, torch.stack([x[y == label].mean(0) for label in range(10)]))
        odd: Any = bundle.flipped if label_noise else (distances.argmin(1) != y).numpy()
        values = proxy(bundle, self.recipe, LocalRuntime(Seed(0))).values
        higher = np.sign(values[odd][:, None] - values[~odd]).mean()
        assert (1 + higher) / 2 > 0.6, "in 2 of 5 pairs, the harder example scores lower"
