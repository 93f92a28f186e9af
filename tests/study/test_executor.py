"""The local executor: the same bits in one process and in several, whatever dies."""

import hashlib
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from rum_ray.data import load
from rum_ray.errors import DataError, StalledError
from rum_ray.jobs import Context, TrainPoolModel
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.training.recipe import Recipe

RECIPE = Recipe("mlp", epochs=1, batch_size=256)


@dataclass(frozen=True, eq=False)
class Job:
    """A job that kills its process as often as a file says, or raises."""

    number: int
    folder: str
    deaths: int = 0
    raises: str = ""
    recipe: Recipe = RECIPE
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value

    def key(self, context):
        return Key("test", {"number": self.number})

    def run(self, context, runtime):
        tries = Path(self.folder) / f"tries{self.number}"
        with tries.open("ab") as file:
            file.write(b"x")
        if tries.stat().st_size <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.raises == "data":
            raise DataError("a permanent error")
        if self.raises == "key":
            raise KeyError("a bug")
        return Artifact(value=self.number)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def context(digits, tmp_path):
    return Context(digits, Store(tmp_path / "store"))


def listen(states):
    def on_progress(state):
        states.append(state)
        return state

    return on_progress


def bits(context, jobs):
    paths = [context.store.path(job.key(context)) for job in jobs]
    return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]


def test_models_have_the_same_bits_in_one_process_and_in_two(digits, tmp_path):
    jobs = [TrainPoolModel(RECIPE, Seed(0) / n, 0.5) for n in range(3)]
    jobs += [TrainPoolModel(RECIPE, Seed(0) / n, 0.5, fused=True) for n in range(10)]
    found = []
    for workers in (1, 2):
        ours, states = Context(digits, Store(tmp_path / str(workers))), []
        with LocalExecutor(workers) as executor:
            executor.run("train", jobs, ours, listen(states))
        assert (states[-1].done, states[-1].total) == (13, 13)
        found.append(bits(ours, jobs))
    assert found[0] == found[1]
    assert not multiprocessing.active_children()


def test_a_dead_process_costs_the_job_in_its_hands(context, tmp_path):
    jobs = [Job(number, str(tmp_path), deaths=2 * (number == 1)) for number in range(6)]
    with LocalExecutor(2) as executor:
        executor.run("test", jobs, context, lambda state: state)
    assert not context.missing(jobs)
    assert [(tmp_path / f"tries{n}").stat().st_size for n in range(6)] == [1, 3, 1, 1, 1, 1]


def test_a_job_that_kills_every_process_ends_the_stage(context, tmp_path):
    jobs = [Job(number, str(tmp_path), deaths=9 * (number == 0)) for number in range(4)]
    executor = LocalExecutor(2)
    with executor, pytest.raises(StalledError, match="died 3 times"):
        executor.run("test", jobs, context, lambda state: state)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_permanent_error_is_raised_once_the_other_jobs_are_done(context, tmp_path, workers):
    jobs = [Job(number, str(tmp_path), raises="data" * (number == 0)) for number in range(4)]
    with LocalExecutor(workers) as executor, pytest.raises(DataError):
        executor.run("test", jobs, context, lambda state: state)
    assert [job.number for job in context.missing(jobs)] == [0]


def test_a_bug_keeps_its_traceback_in_process_and_its_name_elsewhere(context, tmp_path):
    jobs = [Job(number, str(tmp_path), raises="key") for number in range(2)]
    with pytest.raises(KeyError):
        LocalExecutor().run("test", jobs, context, lambda state: state)
    with LocalExecutor(2) as executor, pytest.raises(StalledError, match="KeyError"):
        executor.run("test", jobs, context, lambda state: state)


@pytest.mark.parametrize("workers", [1, 2])
def test_cancelled_jobs_are_not_started(context, tmp_path, workers):
    jobs = [Job(number, str(tmp_path)) for number in range(8)]
    with LocalExecutor(workers) as executor:
        executor.run("test", jobs, context, lambda state: state, lambda: jobs[4:])
    assert context.missing(jobs) == jobs[4:]


def test_an_executor_needs_a_worker():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        LocalExecutor(0)
