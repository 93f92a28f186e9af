"""The local executor: the same bits in one process and in several, even if processes die."""

import hashlib
import os
import signal
import sys
import types
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from rum_ray.data import load
from rum_ray.errors import DataError, StalledError
from rum_ray.jobs import Context, TrainPoolModel
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.study import worker_pool
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.worker_pool import WorkerPool
from rum_ray.training.recipe import Recipe

RECIPE = Recipe("mlp", epochs=1, batch_size=256)
NUMBERS = count()


@dataclass(frozen=True, eq=False)
class Job:
    """A job that kills its process `deaths` times, or raises an error."""

    folder: str
    deaths: int = 0
    raises: str = ""
    number: int = field(default_factory=lambda: next(NUMBERS))
    recipe: Recipe = RECIPE
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value

    def key(self, context):
        return Key("test", {"number": self.number})

    @property
    def tries(self) -> Path:
        """A file with one byte per attempt."""
        return Path(self.folder) / f"tries{self.number}"

    def run(self, context, runtime):
        with self.tries.open("ab") as file:
            file.write(b"x")
        if self.tries.stat().st_size <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.raises == "data":
            raise DataError("a permanent error")
        if self.raises == "key":
            raise KeyError("a bug")
        return Artifact(value=self.number)


def run_jobs(jobs, context):
    """Run jobs as one task of a worker process."""
    for job in jobs:
        context.get_or_compute(job)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def context(digits, tmp_path_factory):
    """One context of all tests, so that worker processes are shared."""
    return Context(digits, Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def executors():
    """An executor per number of processes; to start a process takes seconds."""
    with LocalExecutor() as one, LocalExecutor(2) as two:
        yield {1: one, 2: two}


def ignore(state):
    return state


def bits(context, jobs):
    paths = [context.store.path(job.key(context)) for job in jobs]
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def test_models_have_the_same_bits_in_any_number_of_processes(context, digits, executors, tmp_path):
    jobs = [TrainPoolModel(RECIPE, Seed(0) / n, 0.5) for n in range(5)]
    jobs += [TrainPoolModel(RECIPE, Seed(0) / n, 0.5, fused=True) for n in range(10)]
    contexts = [Context(digits, Store(tmp_path / "one")), context]
    contexts += [Context(digits, Store(tmp_path / "four"))]
    states = []
    with LocalExecutor(4) as four:
        for executor, ours in zip((executors[1], executors[2], four), contexts, strict=True):
            executor.run("train", jobs, ours, lambda state: states.append(state) or state)
            assert (states[-1].done, states[-1].total) == (15, 15)
    one, two, many = (bits(ours, jobs) for ours in contexts)
    assert one == two == many


@pytest.mark.parametrize("workers", [1, 2])
def test_a_permanent_error_is_raised_once_the_other_jobs_are_done(
    context, executors, tmp_path, workers
):
    jobs = [Job(str(tmp_path), raises="data" * (place == 0)) for place in range(4)]
    with pytest.raises(DataError):
        executors[workers].run("test", jobs, context, ignore)
    assert context.missing(jobs) == jobs[:1]


@pytest.mark.parametrize("workers", [1, 2])
def test_cancelled_jobs_are_not_started(context, executors, tmp_path, workers):
    jobs = [Job(str(tmp_path)) for _ in range(8)]
    executors[workers].run("test", jobs, context, ignore, lambda: jobs[4:])
    assert context.missing(jobs) == jobs[4:]


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_and_errors_leave_out_jobs_that_have_become_unnecessary(
    context, executors, tmp_path, workers
):
    jobs = [Job(str(tmp_path), raises="data" * (place == 0)) for place in range(8)]
    states = []

    def cancelled():
        return [] if context.missing(jobs[1:3]) else [jobs[0], *jobs[6:]]

    executors[workers].run("test", jobs, context, lambda s: states.append(s) or s, cancelled)
    assert (states[-1].done, states[-1].total, states[-1].failed) == (5, 5, 0)


def test_processes_start_before_the_context_is_sent_to_the_first(context, monkeypatch):
    # A send blocks until its process has imported PyTorch: starts one after another add up.
    monkeypatch.setattr(worker_pool, "_serve", id)
    pool, alive = WorkerPool(context, 2), []
    monkeypatch.setattr(worker_pool, "_send", lambda pipe, value: alive.append(len(pool._workers)))
    pool._start(2)
    pool.close()
    assert alive == [2, 2]


def test_a_dead_process_costs_one_attempt_of_its_job(context, executors, tmp_path):
    jobs = [Job(str(tmp_path), deaths=int(place == 1)) for place in range(6)]
    executors[2].run("test", jobs, context, ignore)
    assert not context.missing(jobs)
    assert [job.tries.stat().st_size for job in jobs] == [1, 2, 1, 1, 1, 1]


def test_a_bug_keeps_its_traceback_in_process_and_its_name_elsewhere(context, executors, tmp_path):
    jobs = [Job(str(tmp_path), raises="key" * (number < 1)) for number in range(3)]
    with pytest.raises(KeyError):
        executors[1].run("test", jobs, context, ignore)
    with pytest.raises(StalledError, match=r"Job failed .* KeyError"):
        executors[2].run("test", jobs, context, ignore)
    # The error is that of one job; the others are done.
    assert context.missing(jobs) == jobs[:1]


def test_a_module_that_a_process_lacks_is_an_error_of_the_task(context, monkeypatch):
    missing = types.ModuleType("missing_here")
    monkeypatch.setitem(sys.modules, "missing_here", missing)
    exec("def task(context): return 1", vars(missing))
    missing.task.__module__ = "missing_here"
    pool = WorkerPool(context, 1)
    with pytest.raises(StalledError, match="ModuleNotFoundError"):
        list(pool.map([missing.task]))
    # The processes end with the error, so that no late result is read as one of the next tasks.
    assert not pool._workers


def test_a_task_whose_processes_always_die_ends_the_stage(context, monkeypatch):
    # These processes end before they read anything. What is sent to them is lost without an error.
    monkeypatch.setattr(worker_pool, "_serve", id)
    before = dict(os.environ)
    with pytest.raises(StalledError, match=rf"{worker_pool.MAX_DEATHS} times .*exit code: 0"):
        list(WorkerPool(context, 2).map([partial(run_jobs, [])]))
    assert dict(os.environ) == before  # without the settings of the processes


def test_an_executor_needs_a_worker():
    with pytest.raises(ValueError, match=r"workers .* 0"):
        LocalExecutor(0)
