"""The loop of a worker, the join of a cluster and shares of GPUs, without a Ray."""

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rum_ray.cluster import connect, worker
from rum_ray.cluster.embed import stream_moments
from rum_ray.cluster.jobs import countable_share
from rum_ray.cluster.metrics import NAMES
from rum_ray.cluster.queue import MAX_ATTEMPTS, Queue
from rum_ray.cluster.worker import check_hardware, drain, run_chunk
from rum_ray.errors import ConfigError, DataError, DivergedError, StalledError
from rum_ray.jobs import Context
from rum_ray.jobs.context import hardware
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Job:
    """A job that ends with an error, or returns its number."""

    number: int
    error: Exception | None = None
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context):
        return Key("test", {"number": self.number})

    def run(self, context, runtime):
        if self.error is not None:
            raise self.error
        return Artifact(value=self.number)


class Actor:
    """An actor whose methods are called in this process."""

    def __init__(self, instance: object) -> None:
        self.instance = instance

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self.instance, name))


def test_a_worker_runs_all_jobs_and_reports_each_kind_of_error(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(worker.ray, "get", lambda value: value)
    errors = {
        2: DivergedError("neggrad ended with an infinite loss"),
        5: KeyError("a bug"),
        8: torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 1 GiB."),
        9: RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
    }
    context = Context(bundle, Store(tmp_path))
    jobs = [Job(number, errors.get(number)) for number in range(20)]
    queue = Queue(["Job"] * len(jobs), 1)
    queue.register("me", "group", "CPU")
    drain(Actor(queue), "me", lambda chunk: run_chunk(context, {n: jobs[n] for n in chunk}))
    assert [job.number for job in context.missing(jobs)] == [*errors]
    state, _ = queue.progress()
    assert (state.done, state.failed) == (20, 4)
    found = queue.errors()
    assert found[0] is errors[2]
    texts = sorted(str(error) for error in found[1:])
    assert all(type(error) is StalledError for error in found[1:])
    assert texts[0] == f"Job failed in each of {MAX_ATTEMPTS} attempts: KeyError: 'a bug'."
    reasons = [text.rpartition("device: ")[2].partition(". Lower")[0] for text in texts[1:]]
    assert reasons == ["CUDA out of memory", "CUDNN_STATUS_ALLOC_FAILED"]
    # No other worker of the device could have caused them.
    assert all("no other worker" in text for text in texts[1:])


def test_a_worker_with_one_failure_after_another_leaves(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(worker.ray, "get", lambda value: value)
    context = Context(bundle, Store(tmp_path))
    jobs = [Job(number, KeyError("a bug")) for number in range(20)]
    queue = Queue(["Job"] * len(jobs), 2)
    for name in ("faulty", "healthy"):
        queue.register(name, "group", "CPU")
    drain(Actor(queue), "faulty", lambda chunk: run_chunk(context, {n: jobs[n] for n in chunk}))
    assert queue.take("faulty") is None
    assert queue.take("healthy") is not None


def test_a_ray_that_does_not_start_is_an_error(monkeypatch):
    def slow(**options):
        raise Exception("The current node timed out during startup.\nMore of that.")

    monkeypatch.setattr(connect.ray, "init", slow)
    monkeypatch.setattr(connect.ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(StalledError, match=r"timed out during startup\. .*\.$"):
        connect.connect().__enter__()
    with pytest.raises(ConfigError, match=r"^--address nowhere: "):
        connect.connect("nowhere").__enter__()


def test_a_ray_that_runs_already_is_used_and_left_running(monkeypatch, tmp_path):
    def unexpected(**options):
        pytest.fail("Ray was started or stopped")

    monkeypatch.setattr(connect.ray, "init", unexpected)
    monkeypatch.setattr(connect.ray, "shutdown", unexpected)
    monkeypatch.setattr(connect.ray, "is_initialized", lambda: True)
    with connect.connect() as url:
        assert url is None
    with pytest.raises(ConfigError, match=r"^cluster\.modules: "):
        connect.connect(modules=[str(tmp_path)]).__enter__()
    with pytest.raises(ConfigError, match=r"^cluster\.modules: nil "):
        connect.connect(modules=["nil"]).__enter__()


def test_a_worker_of_another_kind_is_an_error():
    mine = hardware(torch.device("cpu"))
    assert check_hardware(mine, dict(mine)) is None
    error = check_hardware(mine, {**mine, "torch": "1.0"})
    assert error.exit_code == 7
    assert "'1.0'" in str(error)


@pytest.mark.parametrize("gpus", [0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.9, 1, 2])
@pytest.mark.parametrize("node", [1, 2, 4, 8])
def test_a_share_of_a_gpu_counts_as_many_workers_as_fit(gpus, node):
    share = countable_share(gpus)
    fit = node * math.floor(1 / gpus + 1e-9) if gpus < 1 else node // gpus
    assert node // share == fit
    assert share == round(share, 4)
    assert share <= max(gpus, 1)


def test_every_metric_is_documented():
    page = Path(__file__).parents[2] / "deploy" / "README.md"
    assert not [name for name in NAMES if f"`ray_{name}`" not in page.read_text("utf-8")]


@pytest.mark.parametrize(
    ("groups", "workers", "error", "message"),
    [
        (np.zeros(5, int), 1, DataError, "groups .*5 for 6 rows"),
        (np.arange(6) - 1, 1, DataError, "groups .*-1"),
        (np.arange(6) / 2, 1, DataError, "groups .* float64"),
        (np.zeros(6, int), 0, ValueError, "workers .* got 0"),
    ],
)
def test_bad_arguments_of_a_stream_of_images(groups, workers, error, message, model):
    source = SimpleNamespace(y=np.zeros(6), encoded=None)
    with pytest.raises(error, match=message):
        stream_moments(source, model, groups, workers=workers)
