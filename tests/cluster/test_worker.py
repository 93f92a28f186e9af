"""The loop of a worker, its checks and its heart, and the join of a cluster, without a Ray."""

import asyncio
import dataclasses
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rum_ray.cluster import connect, worker
from rum_ray.cluster.embed import stream_moments
from rum_ray.cluster.queue import Lease
from rum_ray.cluster.queue_actor import QueueActor
from rum_ray.cluster.stage import MAX_ATTEMPTS
from rum_ray.cluster.work import JobWork, Outcome, Place, run_jobs
from rum_ray.cluster.worker import Heart, RejectedError, check_hardware, check_place, drain
from rum_ray.errors import (
    ConfigError,
    DataError,
    DivergedError,
    IntegrityError,
    RumRayError,
    StalledError,
    StoreError,
)
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
    """The actor of a queue, whose methods are called in this process.

    It is closed when a worker finds nothing to do, so that the worker leaves.
    """

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner, self.queue = runner, QueueActor(take_seconds=0.0)

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote(*arguments: Any) -> Any:
            found = self.runner.run(getattr(self.queue, name)(*arguments))
            if name == "take" and found is not None and not found.jobs:
                self.runner.run(self.queue.close())
            return found

        return SimpleNamespace(remote=remote)


class Metrics:
    """Metrics of a worker that nobody reads."""

    def __init__(self, *labels: str) -> None:
        self.failed = self.done = self.busy = self.idle = self.beat = lambda *a, **k: None


class Objects(dict[str, Any]):
    """The object store: objects by their references; whatever else is its own reference."""

    def of(self, reference: Any) -> Any:
        return self[reference] if isinstance(reference, str) else reference


@pytest.fixture
def objects(monkeypatch) -> Iterator[Objects]:
    """The object store of a worker that has loaded nothing yet."""
    objects = Objects()
    monkeypatch.setattr(worker.ray, "get", objects.of)
    monkeypatch.setattr(worker, "load_shared", objects.of)
    monkeypatch.setattr(worker, "WorkerMetrics", Metrics)
    monkeypatch.setattr(worker, "_device_name", lambda: "node 0 CPU")
    yield objects
    check_place.cache_clear()
    worker._context.cache_clear()


@pytest.fixture
def actor() -> Iterator[Actor]:
    with asyncio.Runner() as runner:
        yield Actor(runner)


@pytest.fixture
def context(bundle, tmp_path) -> Context:
    return Context(bundle, Store(tmp_path / "store"))


@pytest.fixture
def marker(context) -> Path:
    """A file that the command has written into the store."""
    marker = Path(context.store.root) / ".command"
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    return marker


class TestDrain:
    def runner(self, context, jobs):
        """Loads the function that runs jobs, whatever the stage."""
        return lambda stage: lambda lease: run_jobs(context, {n: jobs[n] for n in lease.jobs})

    def test_a_worker_runs_all_jobs_and_reports_each_kind_of_error(self, objects, actor, context):
        errors = {
            2: DivergedError("neggrad ended with an infinite loss"),
            5: KeyError("a bug"),
            8: torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 1 GiB."),
            9: RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
        }
        jobs = [Job(number, errors.get(number)) for number in range(20)]
        actor.register.remote("me", "shard", 0, "CPU")
        actor.open.remote(["Job"] * len(jobs), 1)
        drain(actor, "me", self.runner(context, jobs))
        assert [job.number for job in context.missing(jobs)] == [*errors]
        state, is_over = actor.watch.remote(0.0)
        assert (state.done, state.failed, is_over) == (20, 4, True)
        found = actor.errors.remote()
        assert found[0] is errors[2]
        texts = sorted(str(error) for error in found[1:])
        assert all(type(error) is StalledError for error in found[1:])
        assert texts[0] == f"Job failed in each of {MAX_ATTEMPTS} attempts: KeyError: 'a bug'."
        reasons = [text.rpartition("device: ")[2].partition(". Lower")[0] for text in texts[1:]]
        assert reasons == ["CUDA out of memory", "CUDNN_STATUS_ALLOC_FAILED"]
        # No other worker of the device could have caused them.
        assert all("no other worker" in text for text in texts[1:])

    def test_a_worker_with_one_failure_after_another_leaves_the_jobs_to_the_others(
        self, objects, actor, context
    ):
        jobs = [Job(number, KeyError("a bug")) for number in range(20)]
        for rank, name in enumerate(("faulty", "healthy")):
            actor.register.remote(name, "shard", rank, "CPU")
        actor.open.remote(["Job"] * len(jobs), 2)
        drain(actor, "faulty", self.runner(context, jobs))
        state, is_over = actor.watch.remote(0.0)
        assert (state.done, state.workers, is_over) == (0, 2, False)

    def test_each_stage_is_loaded_once_and_small_results_arrive(self, objects, actor):
        loaded = []

        def load(stage):
            loaded.append(stage)
            return lambda lease: (
                Outcome(n, None, result=lease.payloads[n] + 1) for n in lease.jobs
            )

        actor.register.remote("me", "shard", 0, "CPU")
        actor.open.remote(["Job"], 1)
        actor.open.remote([], 1)
        for payload in range(30):
            actor.queue._queue.stage.add("Trial", payload)
        drain(actor, "me", load)
        assert loaded == [1]
        assert actor.queue._queue.stage.results == {n: n + 1 for n in range(30)}

    def test_the_rest_of_a_lease_of_an_earlier_stage_is_left(self, objects, actor):
        ran = []

        def run(lease):
            for number in lease.jobs:
                if lease.stage == 0:
                    # The stage is dropped while its job runs.
                    actor.open.remote(["Next"] * 3, 1)
                ran.append((lease.stage, number))
                yield Outcome(number, None, KeyError("late") if lease.stage == 0 else None)

        actor.register.remote("me", "shard", 0, "CPU")
        actor.open.remote(["Job"] * 100, 1, range(100))
        drain(actor, "me", lambda stage: run)
        assert ran == [(0, 0), (1, 0), (1, 1), (1, 2)]
        state, _ = actor.watch.remote(0.0)
        assert (state.done, state.failed, state.again) == (3, 0, 0)


RANK = SimpleNamespace(get_world_rank=lambda: 3)


class TestLoad:
    def open(self, objects, actor, context, marker, jobs) -> None:
        """Open a stage as the pool does."""
        objects["context"], objects["block"] = context, jobs
        place = Place("context", Recipe("mlp", batch_size=16), str(marker))
        objects["work"] = JobWork("train", place, ["block"])
        actor.open.remote(["Job"] * len(jobs), 1, (), ["work"])

    def test_a_worker_of_train_runs_the_jobs_of_a_stage(
        self, objects, actor, context, marker, monkeypatch
    ):
        monkeypatch.setattr(
            worker, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 3)
        )
        hearts = []
        monkeypatch.setattr(Heart, "start", lambda heart: hearts.append(heart))
        jobs = [Job(number) for number in range(5)]
        self.open(objects, actor, context, marker, jobs)
        worker.work({"queue": actor, "shard": "mine", "experiment": "digits", "command": "1"})
        assert context.missing(jobs) == []
        assert actor.watch.remote(0.0)[1]
        (me,) = actor.queue._queue._workers.values()
        assert (me.shard, me.rank, me.device) == ("mine", 3, "node 0 CPU")
        (heart,) = hearts
        assert heart.ended.is_set()
        assert not heart._busy

    def test_a_worker_that_cannot_train_leaves_with_its_reason(
        self, objects, actor, context, marker, monkeypatch
    ):
        monkeypatch.setattr(
            worker, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 0)
        )
        monkeypatch.setattr(Heart, "start", lambda heart: None)
        jobs = [Job(number) for number in range(5)]
        self.open(objects, actor, context, marker, jobs)
        marker.unlink()
        worker.work({"queue": actor, "shard": "mine", "experiment": "digits", "command": "1"})
        (error,) = actor.rejections.remote()
        assert isinstance(error, StoreError)
        state, is_over = actor.watch.remote(0.0)
        assert (state.workers, state.done, is_over) == (0, 0, False)
        assert context.missing(jobs) == jobs

    def test_a_worker_proves_its_device_once_for_all_stages(
        self, objects, actor, context, marker, monkeypatch
    ):
        proofs, heart = [], Heart(actor, "me", Metrics())
        monkeypatch.setattr(worker, "prove", lambda *place: proofs.append(place))
        for stage in range(3):
            self.open(objects, actor, context, marker, [Job(stage)])
            objects["work"] = dataclasses.replace(objects["work"], stage=f"stage {stage}")
            worker._load(actor, heart, stage)
        assert len(proofs) == 1

    def test_a_stage_that_is_over_has_nothing_to_run(self, objects, actor):
        run = worker._load(actor, Heart(actor, "me", Metrics()), 7)
        assert [*run(Lease(7, [1, 2], {}))] == []


class TestPlace:
    def place(self, objects, context, marker=None, **changes) -> Place:
        objects["context"] = context
        recipe = dataclasses.replace(Recipe("mlp", batch_size=16), **changes)
        return Place("context", recipe, None if marker is None else str(marker))

    def rejected(self, place: Place) -> RumRayError:
        with pytest.raises(RejectedError) as rejected:
            check_place(place)
        return rejected.value.error

    def test_a_worker_that_can_train_passes_and_proves_it_once(
        self, objects, context, marker, monkeypatch
    ):
        proved = []
        monkeypatch.setattr(worker, "prove", lambda *arguments: proved.append(arguments))
        place = self.place(objects, context, marker)
        for _ in range(3):
            check_place(place)
        ((_, recipe),) = proved
        assert recipe is place.recipe

    def test_the_proof_trains_one_batch_and_keeps_nothing(self, context, monkeypatch):
        seen = []
        fit = Recipe.fit

        def watched(self, data, runtime):
            seen.append((self.epochs, len(data), runtime.device))
            return fit(self, data, runtime)

        monkeypatch.setattr(Recipe, "fit", watched)
        worker.prove(context, Recipe("mlp", epochs=30, batch_size=16))
        worker.prove(context, Recipe("mlp", epochs=30, batch_size=1000))
        assert seen == [(1, 16, context.device), (1, 160, context.device)]
        assert not Path(context.store.root).exists()

    def test_an_error_of_the_recipe_is_left_to_its_job(self, objects, context, marker, monkeypatch):
        def diverge(*arguments):
            raise DivergedError("infinite loss")

        monkeypatch.setattr(Recipe, "fit", diverge)
        check_place(self.place(objects, context, marker))

    def test_a_broken_device_is_a_reason(self, objects, context, marker, monkeypatch):
        def broken(*arguments):
            raise RuntimeError("CUDA error: no kernel image\nCompile with more")

        monkeypatch.setattr(Recipe, "fit", broken)
        error = self.rejected(self.place(objects, context, marker))
        assert isinstance(error, StalledError)
        text = str(error)
        assert platform.node() in text
        assert "node 0 CPU" in text
        assert "RuntimeError: CUDA error: no kernel image." in text
        assert "Compile" not in text

    def test_another_kind_of_machine_is_a_reason(self, objects, context, marker, monkeypatch):
        kinds = iter([{"torch": "2"}, {"torch": "1"}])
        monkeypatch.setattr(worker, "hardware", lambda device: next(kinds))
        error = self.rejected(self.place(objects, context, marker))
        assert isinstance(error, IntegrityError)

    def test_another_store_is_a_reason_and_one_at_a_uri_is_not(self, objects, context, marker):
        marker.unlink()
        error = self.rejected(self.place(objects, context, marker))
        assert isinstance(error, StoreError)
        assert str(marker.parent) in str(error)
        check_place(self.place(objects, context, None))


class TestHeart:
    """Beats of a heart: each has the time since the one before, and the instruction of the jobs."""

    @pytest.fixture
    def beat(self, monkeypatch):
        def beat(*beats: tuple[float, int | None], file: str = "job.py") -> tuple[int, bool]:
            """Return the number of heartbeats, and True if the process was ended."""
            sent, left, now, frame = [], list(beats), [1000.0], [None]
            codes: dict[str, SimpleNamespace] = {}
            queue = SimpleNamespace(
                heartbeat=SimpleNamespace(remote=lambda *message: sent.append(message))
            )
            heart = Heart(queue, "me", Metrics())

            def wait(seconds: float) -> bool:
                assert seconds == worker.HEARTBEAT_SECONDS
                if not left:
                    return True
                passed, instruction = left.pop(0)
                now[0] += passed
                heart._busy = instruction is not None
                code = SimpleNamespace(co_filename=file)
                frame[0] = SimpleNamespace(f_code=codes.setdefault(file, code), f_lasti=instruction)
                return False

            class EndedError(Exception):
                """The process ends."""

            def end(code: int) -> None:
                assert code
                raise EndedError

            monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
            monkeypatch.setattr(
                worker.sys, "_current_frames", lambda: {heart._watched: frame[0]}, raising=True
            )
            monkeypatch.setattr(worker.os, "_exit", end)
            monkeypatch.setattr(worker, "_device_name", lambda: "node 0 CPU")
            heart.ended = SimpleNamespace(wait=wait)
            try:
                heart.run()
            except EndedError:
                return len(sent), True
            finally:
                monkeypatch.undo()
            return len(sent), False

        return beat

    HANG = worker.HANG_SECONDS

    def test_a_job_that_stays_at_one_instruction_ends_its_process(self, beat):
        assert beat((5, 7), (self.HANG - 1, 7)) == (2, False)
        assert beat((5, 7), (self.HANG - 1, 7), (2, 7)) == (2, True)

    def test_a_job_that_moves_lives(self, beat):
        assert beat(*[(self.HANG - 1, number) for number in range(9)]) == (9, False)
        # The time at an instruction does not add up over others.
        assert beat(*[(self.HANG / 2 + 1, number // 2 % 2) for number in range(8)]) == (8, False)

    def test_a_job_that_waits_for_a_lock_of_another_does_not_hang(self, beat):
        still = [(worker.HANG_SECONDS, 7)] * 4
        assert beat(*still, file="site-packages/filelock/_api.py") == (4, False)
        assert beat(*still)[1]

    def test_a_worker_without_a_job_never_hangs(self, beat):
        assert beat(*[(self.HANG + 1, None)] * 5) == (5, False)
        # The time before a job does not count for it.
        assert beat((5, 7), *[(self.HANG + 1, None)] * 2, (5, 7), (self.HANG - 6, 7))[1] is False

    def test_jobs_are_busy_and_waiting_is_not(self):
        heart = Heart(None, "me", Metrics())
        assert not heart._busy
        with pytest.raises(KeyError), heart.busy("train"):
            assert heart._busy
            raise KeyError
        assert not heart._busy


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
    with connect.connect() as started:
        assert not started
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
