import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rum_ray import resume
from rum_ray.data import DataBundle, load
from rum_ray.jobs import Context, Evaluate, EvaluatePlan, RetrainedReference, TrainModel
from rum_ray.jobs import context as contexts
from rum_ray.refinement import refine
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, unlearn
from rum_ray.scores.base import Scores
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import FineTune, NegGrad, SalUn, Scrub

RECIPE = Recipe("small_cnn", epochs=4, lr=0.05, batch_size=16)


class CrashError(Exception):
    """Stands for the death of the process."""


@pytest.fixture(scope="module")
def bundle() -> DataBundle:
    whole = load("digits")
    return dataclasses.replace(
        whole,
        train=whole.train.take(range(60)),
        valid=whole.valid.take(range(40)),
        test=whole.test.take(range(40)),
        true_labels=None,
    )


@pytest.fixture
def runtime(tmp_path) -> StoredRuntime:
    return StoredRuntime(Seed(0), Store(tmp_path), "job", checkpoint_seconds=0.0)


def states(runtime: StoredRuntime) -> list[Path]:
    return sorted((runtime.store.folder / "states").glob("*"))


@contextlib.contextmanager
def crash(after: int, saved: bool = True) -> Iterator[None]:
    """Crash at the `after`-th checkpoint: after it is saved, or just before."""
    save, count = StoredRuntime._save_checkpoint, iter(range(1, 100))

    def save_and_die(self: StoredRuntime, epoch: int, state: dict) -> None:
        last = next(count) == after
        if saved or not last:
            save(self, epoch, state)
        if last:
            raise CrashError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredRuntime, "_save_checkpoint", save_and_die)
        with pytest.raises(CrashError):
            yield


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("epochs", range(1, RECIPE.epochs + 1))
def test_a_training_resumes_after_any_epoch(bundle, runtime, epochs, saved):
    data = bundle.train
    whole, oracle = LearningEvents(len(data)), LocalRuntime(Seed(0))
    expected = RECIPE.fit(data, oracle, observe=whole)
    with crash(epochs, saved):
        RECIPE.fit(data, runtime, observe=LearningEvents(len(data)))
    assert len(states(runtime)) == (1 if saved or epochs > 1 else 0)
    events = LearningEvents(len(data))
    assert_same(RECIPE.fit(data, runtime, observe=events), expected)
    assert torch.equal(events.sums, whole.sums)
    assert events.visits.tolist() == [RECIPE.epochs] * len(data)


PLANS: dict[str, Callable[[], object]] = {
    "salun": lambda: SalUn(epochs=2, batch_size=16),
    "scrub": lambda: Scrub(epochs=2, max_epochs=1, batch_size=16),
}


@pytest.mark.parametrize("epochs", range(1, 5))
@pytest.mark.parametrize("name", PLANS)
def test_a_plan_resumes_after_any_epoch_of_any_step(bundle, runtime, name, epochs):
    model = RECIPE.fit(bundle.train, LocalRuntime(Seed(1)))
    partition = refine(range(20), Scores(np.arange(60.0)), into=("low", "high"))
    plan = Plan.assign(partition, {"low": PLANS[name](), "high": PLANS[name]()})
    expected = unlearn(model, plan, bundle.train, LocalRuntime(Seed(0)))
    with crash(epochs):
        unlearn(model, plan, bundle.train, runtime)
    assert_same(unlearn(model, plan, bundle.train, runtime), expected)
    assert len(states(runtime)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:-1],
        lambda content: content[:1000] + bytes([content[1000] ^ 1]) + content[1001:],
        lambda content: content[:-100] + bytes(100),
        lambda content: bytes([content[0] ^ 1]) + content[1:],
    ],
)
def test_training_starts_over_from_a_damaged_checkpoint(bundle, runtime, damage):
    with crash(2):
        RECIPE.fit(bundle.train, runtime)
    (path,) = states(runtime)
    path.write_bytes(damage(path.read_bytes()))
    seen = LearningEvents(len(bundle.train))
    expected = RECIPE.fit(bundle.train, LocalRuntime(Seed(0)))
    assert_same(RECIPE.fit(bundle.train, runtime, observe=seen), expected)
    assert seen.visits.tolist() == [RECIPE.epochs] * len(bundle.train)


def test_each_job_and_seed_has_its_own_checkpoint(runtime):
    other = dataclasses.replace(runtime, job="other")
    part = runtime / "part"
    for each in (runtime, other, part):
        assert list(each.epochs(2)) == [0, 1]
    assert len(states(runtime)) == 3
    assert [list(each.epochs(3)) for each in (runtime, other, part)] == [[2], [2], [2]]
    assert list((runtime / "new").epochs(1)) == [0]
    runtime.remove_checkpoints()
    assert [path.name[:5] for path in states(runtime)] == ["other"]
    assert list(other.epochs(4)) == [3]


def test_a_checkpoint_is_saved_after_30_seconds_of_work(tmp_path, monkeypatch):
    runtime = StoredRuntime(Seed(0), Store(tmp_path), "job")
    now = [0.0]
    monkeypatch.setattr(resume.time, "monotonic", lambda: now[0])
    saved = []
    for epoch in runtime.epochs(6):
        saved.append(len(states(runtime)) and int(runtime._restore({})))
        now[0] += 12 if epoch else 10
    assert saved == [0, 0, 0, 3, 3, 3]


def test_checkpoints_of_a_store_at_another_place():
    store = Store("mock://bucket/a")
    store._place.files.create_dir("a/states")
    runtime = StoredRuntime(Seed(0), store, "job", checkpoint_seconds=0.0)
    assert list(runtime.epochs(3)) == [0, 1, 2]
    assert list(runtime.epochs(5)) == [3, 4]
    dataclasses.replace(runtime, job="jo").remove_checkpoints()
    assert list(runtime.epochs(6)) == [5]
    runtime.remove_checkpoints()
    assert list(runtime.epochs(1)) == [0]


def rewritten(content: bytes, **changes: object) -> bytes:
    """A checkpoint with other values under a valid checksum."""
    saved = torch.load(io.BytesIO(content[32:]), weights_only=True)
    buffer = io.BytesIO()
    torch.save({**saved, **changes}, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def test_a_checkpoint_of_another_job_is_none(bundle, runtime):
    other = dataclasses.replace(runtime, job="other", seed=Seed(1))
    for each in (runtime, other):
        with crash(2):
            RECIPE.fit(bundle.train, each)
    mine, foreign = (path for path in states(runtime))
    assert mine.name.startswith("job")
    mine.write_bytes(foreign.read_bytes())
    assert_same(RECIPE.fit(bundle.train, runtime), RECIPE.fit(bundle.train, LocalRuntime(Seed(0))))
    assert list(other.epochs(RECIPE.epochs)) == [2, 3]


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "other"},
        {"seed": "other"},
        {"state": {}},
        {"epoch": None},
        {"state": {"model": {"x": torch.zeros(1)}, "optimizer": {}}},
    ],
)
def test_a_checkpoint_that_does_not_fit_is_none(bundle, runtime, changes):
    expected = RECIPE.fit(bundle.train, LocalRuntime(Seed(0)))
    with crash(2):
        RECIPE.fit(bundle.train, runtime)
    (path,) = states(runtime)
    path.write_bytes(rewritten(path.read_bytes(), **changes))
    assert_same(RECIPE.fit(bundle.train, runtime), expected)


def test_a_checkpoint_of_another_version_is_none(bundle, runtime):
    content = b"made by another version"
    runtime.store.save_checkpoint(runtime._name, hashlib.sha256(content).digest() + content)
    expected = RECIPE.fit(bundle.train, LocalRuntime(Seed(0)))
    assert_same(RECIPE.fit(bundle.train, runtime), expected)


@pytest.fixture
def trials(bundle, tmp_path) -> tuple[Context, list[EvaluatePlan]]:
    """Trials of one search seed, whose plans differ."""
    context = Context(bundle, Store(tmp_path))
    partition = refine(range(20), Scores(np.arange(60.0)), into=("low", "high"))
    model = TrainModel(RECIPE, Seed(0))
    retrained = TrainModel(RECIPE, Seed(0), partition.rows)
    reference = Evaluate(retrained, partition, Seed(0), "valid")
    context.get_or_compute(reference)
    steps = [FineTune(epochs=2), FineTune(epochs=3, lr=0.05), NegGrad(epochs=1)]
    known = RetrainedReference((reference,))
    plans = [Plan.assign(partition, dict.fromkeys(partition.names, step)) for step in steps]
    return context, [EvaluatePlan(plan, model, known) for plan in plans]


def test_a_trial_does_not_resume_from_another_trial(trials, tmp_path, monkeypatch):
    context, jobs = trials
    expected = [context.get_or_compute(job).value for job in jobs]
    for path in (tmp_path / "trial").iterdir():
        path.unlink()

    def keeping(*args: object) -> StoredRuntime:
        return StoredRuntime(*args, checkpoint_seconds=0.0)

    monkeypatch.setattr(contexts, "StoredRuntime", keeping)
    with crash(2):
        context.get_or_compute(jobs[0])
    assert [context.get_or_compute(job).value for job in reversed(jobs)] == expected[::-1]
    assert not list((tmp_path / "states").iterdir())


def test_a_finished_job_leaves_no_checkpoint(bundle, tmp_path, monkeypatch):
    context = Context(bundle, Store(tmp_path))

    def keeping(*args: object) -> StoredRuntime:
        return StoredRuntime(*args, checkpoint_seconds=0.0)

    monkeypatch.setattr(contexts, "StoredRuntime", keeping)
    job = TrainModel(RECIPE, Seed(0))
    with crash(3):
        context.get_or_compute(job)
    (state,) = (tmp_path / "states").iterdir()
    assert state.name.startswith(job.key(context).digest)
    assert not context.has(job)
    made = context.get_or_compute(job)
    assert not list((tmp_path / "states").iterdir())
    assert context.has(job)
    events = LearningEvents(len(bundle.train))
    model = RECIPE.fit(bundle.train, LocalRuntime(Seed(0)), observe=events)
    for name, value in model.state_dict().items():
        assert np.array_equal(made.arrays[f"weights/{name}"], value.numpy())
    for name, scores in events.scores().items():
        assert np.array_equal(made.arrays[f"events/{name}"], scores.values)
