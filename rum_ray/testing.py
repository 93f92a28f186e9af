"""Conformance suites for plug-ins: subclass one in a test module, and define its fixture.

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
    """A runtime with checkpoints in memory that raises `InterruptedError` after some epochs.

    Attributes:
        crash: number of epochs before the error, over all loops; None for no error.
        checkpoints: next epoch and state, by the seed of the loop. `replace(runtime, crash=None)`
            resumes from them.
    """

    crash: int | None = None
    checkpoints: dict[Seed, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @override
    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the remaining epochs, and save a checkpoint after each."""
        start, saved = copy.deepcopy(self.checkpoints.get(self.seed, (0, {})))
        for name, values in saved.items():
            state[name].load_state_dict(values)
        for epoch in range(start, total):
            yield epoch
            saved = {name: copy.deepcopy(part.state_dict()) for name, part in state.items()}
            self.checkpoints[self.seed] = epoch + 1, saved
            if sum(epochs for epochs, _ in self.checkpoints.values()) == self.crash:
                raise InterruptedError


@contextlib.contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the examples passed "forward" and "backward" through any model in the block."""
    passes: Counter[str] = Counter(depth=0)

    def after_forward(module: nn.Module, inputs: Any, output: Any) -> None:
        passes["depth"] -= 1
        if not passes["depth"]:
            passes["forward"] += len(output)
            if output.requires_grad:
                output.register_hook(lambda gradient: passes.update(backward=len(gradient)))

    with contextlib.ExitStack() as stack:
        before = hooks.register_module_forward_pre_hook(lambda *_: passes.update(depth=1))
        stack.callback(before.remove)
        stack.callback(hooks.register_module_forward_hook(after_forward, always_call=True).remove)
        yield passes


def sensitive_model(seed: int) -> nn.Module:
    """Return a network that is sensitive to batches, to train and eval mode, and to draws.

    BatchNorm depends on the batch and the mode, and dropout on the mode and the draws.
    """
    with Seed(seed).torch():
        convolution = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
        layers = (convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))
        return Classifier(nn.Sequential(*layers), nn.Linear(8 * 16, 10)).eval()


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """Return True if two models have the same parameters and buffers, bit for bit."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def memory(model: nn.Module) -> set[int]:
    """Return the memory addresses of a model's parameters and buffers."""
    return {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}


class UnlearnerContract:
    """The contract of unlearners; a subclass defines the fixture `unlearner`."""

    forget, retain = range(30), range(90, 240)

    def unlearn(self, unlearner: Unlearner, runtime: Runtime | None = None) -> nn.Module:
        """Return the unlearned model; check that data, models, modes and gradients are unchanged.

        The result must not share memory with an input model.
        """
        data = load("digits").train
        sets = data.take(self.forget), data.take(self.retain)
        shift = -np.ones(sum(map(len, sets)), dtype=np.float32)
        task = UnlearningTask(*sets, sensitive_model(0), shift=shift)
        model, before = sensitive_model(1), [t.clone() for t in (task.forget.x, task.retain.y)]
        result = unlearner(model, task, runtime or LocalRuntime(Seed(0)))
        unchanged = all(map(torch.equal, before, (task.forget.x, task.retain.y)))
        assert unchanged, "the unlearner changed the data"
        for seed, source in ((1, model), (0, task.original)):
            assert same_bits(source, sensitive_model(seed)), "the unlearner changed an input model"
            assert not any(m.training for m in source.modules()), "the unlearner changed the mode"
            assert all(p.requires_grad and p.grad is None for p in source.parameters())
            assert not memory(source) & memory(result), "the result shares memory with a model"
        return result

    def test_it_ends_in_eval_mode_and_finite(self, unlearner: Unlearner) -> None:
        """The result is in eval mode and finite, and the inputs are unchanged."""
        result = self.unlearn(unlearner)
        assert not any(m.training for m in result.modules()), "the result is in train mode"
        assert all(bool(p.isfinite().all()) for p in result.parameters()), "a weight is not finite"

    def test_the_same_seed_gives_the_same_bits(self, unlearner: Unlearner) -> None:
        """The result neither depends on torch's global generator nor changes its state."""
        with torch.random.fork_rng():
            state = torch.manual_seed(1).get_state()
            first = self.unlearn(unlearner)
            assert torch.equal(state, torch.get_rng_state()), "the global generator has changed"
            torch.manual_seed(2)
            assert same_bits(first, self.unlearn(unlearner)), "two runs differ"

    def test_a_crash_after_any_epoch_changes_no_bit(self, unlearner: Unlearner) -> None:
        """The state passed to `runtime.epochs` is complete."""
        expected = self.unlearn(unlearner, whole := CrashingRuntime(Seed(0)))
        for epochs in range(1, 1 + sum(done for done, _ in whole.checkpoints.values())):
            runtime = CrashingRuntime(Seed(0), crash=epochs)
            with pytest.raises(InterruptedError):
                self.unlearn(unlearner, runtime)
            resumed = self.unlearn(unlearner, replace(runtime, crash=None))
            assert same_bits(resumed, expected), f"a crash after epoch {epochs} changes the result"

    def test_it_is_an_immutable_value(self, unlearner: Unlearner) -> None:
        """An unlearner is hashable, picklable and frozen; every field has a default."""
        for twin in (copy.deepcopy(unlearner), pickle.loads(pickle.dumps(unlearner))):
            assert (twin, hash(twin)) == (unlearner, hash(unlearner))
        with pytest.raises(FrozenInstanceError):
            unlearner.name = "other"  # type: ignore[misc]
        assert type(unlearner)().name == unlearner.name

    def test_an_empty_set_is_an_error(self, unlearner: Unlearner) -> None:
        """An empty forget or retain set raises PlanError."""
        data, model = load("digits").train, sensitive_model(0)
        for part, forgotten, retained in (("forget", 0, 1), ("retain", 1, 0)):
            task = UnlearningTask(data.take(range(forgotten)), data.take(range(retained)), model)
            with pytest.raises(PlanError, match=f"{part} set"):
                unlearner(model, task, LocalRuntime(Seed(0)))

    def test_its_cost_counts_examples_through_models(self, unlearner: Unlearner) -> None:
        """The cost is within 1 % of the passes through all models, teachers included.

        The tolerance allows a pass of a single example.
        """
        with counting() as passes:
            self.unlearn(unlearner)
        measured = passes["backward"] * (1 - FORWARD_ONLY) + passes["forward"] * FORWARD_ONLY
        assert unlearner.cost(len(self.forget), len(self.retain)) == pytest.approx(measured, 0.01)

    def test_its_search_space_is_valid(self, unlearner: Unlearner) -> None:
        """Each key is a field that accepts the bounds of its range or each option of its choice."""
        for name, domain in unlearner.space.items():
            for end in getattr(domain, "options", None) or vars(domain).values():
                assert getattr(type(unlearner)(**{name: end}), name) == end


class ProxyContract:
    """The contract of proxies; a subclass defines the fixture `proxy`, and may set `recipe`."""

    recipe = Recipe("mlp", epochs=15, batch_size=64)

    def test_its_cost_counts_examples_through_models(self, proxy: Proxy) -> None:
        """The cost is within 1 % of the passes, or above them where training stops early.

        The cost is at most twice the passes. A proxy without `cost` trains one model.
        """
        bundle, recipe = load("digits"), replace(self.recipe, epochs=4)
        with counting() as passes:
            proxy(bundle, recipe, LocalRuntime(Seed(0)))
        measured = passes["backward"] * (1 - FORWARD_ONLY) + passes["forward"] * FORWARD_ONLY
        training = float(recipe.epochs * len(bundle.train))
        cost = proxy.cost(bundle, recipe) if hasattr(proxy, "cost") else training
        assert 0.99 * training <= measured <= 1.01 * cost, "the cost is too low"
        assert cost <= 2 * measured, "the cost is too high"

    def test_the_same_seed_gives_the_same_bits(self, proxy: Proxy) -> None:
        """There is one known score per example, with the same bits after a crash."""
        crashing = CrashingRuntime(Seed(0), crash=2)
        with contextlib.suppress(InterruptedError):
            proxy(load("digits"), self.recipe, crashing)
        runtimes = (LocalRuntime(Seed(0)), replace(crashing, crash=None))
        runs = np.array([proxy(load("digits"), self.recipe, r).values for r in runtimes])
        assert runs.shape == (2, 1200), "there must be one score per example"
        assert (runs[0] == runs[1]).all(), "two runs differ, or a score is unknown"

    @pytest.mark.parametrize("label_noise", [0.1, 0.0])
    def test_higher_is_harder(self, proxy: Proxy, label_noise: float) -> None:
        """Noisy labels have higher scores; without noise, examples that resemble another class."""
        bundle = load("digits", label_noise=label_noise)
        x, y = bundle.train.x.flatten(1), bundle.train.y
        distances = torch.cdist(x, torch.stack([x[y == label].mean(0) for label in range(10)]))
        odd: Any = bundle.flipped if label_noise else (distances.argmin(1) != y).numpy()
        values = proxy(bundle, self.recipe, LocalRuntime(Seed(0))).values
        higher = np.sign(values[odd][:, None] - values[~odd]).mean()
        assert (1 + higher) / 2 > 0.6, "in 2 of 5 pairs, the harder example scores lower"
