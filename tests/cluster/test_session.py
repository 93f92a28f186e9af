"""Train, Data and Tune in one Ray session: the same bits as without Ray, and every failure."""

import contextlib
import dataclasses
import functools
import io
import operator
import os
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rum_ray.data import load
from rum_ray.data.batches import fixed_batches
from rum_ray.data.images import open_source
from rum_ray.errors import DataError, StalledError, StoreError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import CentroidDistances, Context, SubsetMoments, TrainPoolModel, UnlearnedModel
from rum_ray.models import build, embed
from rum_ray.partition import Partition, Subset
from rum_ray.scores.entanglement import Moments
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.methods import method_rows
from rum_ray.training.domains import Choice
from rum_ray.training.recipe import Recipe

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings(r"ignore:::ray\..*"),
    pytest.mark.usefixtures("ray_here"),
]


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture
def context(digits, tmp_path) -> Context:
    return Context(digits, Store(tmp_path / "store"))


@pytest.fixture
def root(context) -> Path:
    root = Path(context.store.root)
    root.mkdir(exist_ok=True)
    return root


@pytest.fixture(scope="module")
def executor(ray_here):
    """One executor for all stages of these tests, with two workers."""
    from rum_ray.cluster.executor import RayExecutor

    with RayExecutor(config=ClusterConfig(workers=2)) as executor:
        yield executor


@contextlib.contextmanager
def beside(workers: int = 1):
    """Another executor, with workers of its own."""
    from rum_ray.cluster.executor import RayExecutor

    with RayExecutor(config=ClusterConfig(workers=workers)) as executor:
        yield executor


def workers_of(executor, context, digits, folder: Path, count: int = 2) -> set[int]:
    """The processes of the workers: each has one job of a stage that waits for all of them."""
    from ray_jobs import Task, marked

    context, tasks = Context(digits, Store(folder)), [Task(n, waits=True) for n in range(count)]
    folder.mkdir()

    def each():
        if all((folder / f"started{n}").exists() for n in range(count)):
            (folder / "released").touch()
        return ()

    executor.run("who", tasks, context, lambda state: state, each)
    found = [marked(folder / f"started{n}") for n in range(count)]
    assert [len(numbers) for numbers in found] == [1] * count
    return {number for numbers in found for number in numbers}


def contents(context, jobs) -> list[bytes]:
    return [Path(context.store.path(job.key(context))).read_bytes() for job in jobs]


def wait_until(ready) -> None:
    deadline = time.monotonic() + 600
    while not ready():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def wait_for_cpus() -> float:
    """CPUs that are free once nothing starts or ends any more."""
    found: list[float] = []
    wait_until(lambda: found.append(free_cpus()) or (len(found) > 20 and len({*found[-20:]}) == 1))
    return found[-1]


def searched(study, *candidates, **changes):
    """The search of V4, with other candidates and another budget."""
    whole = study.rungs[-1]
    space = Space("V4", candidates, study.partition, ordered=True)
    changes = {"max_cost": 99, "budget": None, "finalists": 1, **changes}
    config = dataclasses.replace(whole.config, **changes)
    return dataclasses.replace(whole, space=space, config=config, parents=())


def free_cpus() -> float:
    import ray

    return ray.available_resources().get("CPU", 0.0)


class TestImages:
    """These come first: the workers of the executor would take the CPUs."""

    def test_encoded_images_stream_beside_workers_like_those_in_memory(
        self, context, digits, tmp_path
    ):
        from rum_ray.cluster.embed import stream_moments

        pixels = (Seed(0) / "pixels").integers(620 * 64, 256).reshape(620, 8, 8).astype(np.uint8)
        files = [io.BytesIO() for _ in pixels]
        for file, image in zip(files, pixels, strict=True):
            Image.fromarray(image).save(file, "PNG")
        columns = {"image": [file.getvalue() for file in files], "label": [0, 1] * 310}
        pq.write_table(pa.table(columns), tmp_path / "d.parquet", row_group_size=100)
        source, groups = open_source(tmp_path / "d.parquet"), np.arange(620) % 3
        # Its blocks, of torchvision, must be unpickled in the actors.
        model = build("resnet18", (1, 8, 8), 2).eval()
        with torch.inference_mode():
            parts = [
                embed(model, x)[:real].double().numpy()
                for x, real in fixed_batches(torch.from_numpy(pixels)[:, None], torch.device("cpu"))
            ]
        with beside(3) as executor:
            workers_of(executor, context, digits, tmp_path / "who", count=3)
            assert free_cpus() < 1
            found = stream_moments(source, model, groups, workers=2)
        for group in range(3):
            ranges = [
                p[groups[k : k + 250] == group] for p, k in zip(parts, (0, 250, 500), strict=True)
            ]
            exact = functools.reduce(operator.add, map(Moments.of, ranges))
            assert (found[group].count, found[group].scatter) == (exact.count, exact.scatter)
            assert np.array_equal(found[group].mean, exact.mean)
        assert (sum(group.count for group in found.values()), len(found[0].mean)) == (620, 512)

        columns["image"][301] = b"no image"
        pq.write_table(pa.table(columns), tmp_path / "d.parquet", row_group_size=100)
        small = build("small_cnn", (1, 8, 8), 2)
        with pytest.raises(DataError, match=r"^row 301 of .*d\.parquet"):
            stream_moments(source, small, np.zeros(620, dtype=bool), workers=1)


class TestTrain:
    def test_dead_workers_and_cancelled_and_failing_jobs_change_no_bit_of_the_others(
        self, executor, context, root, digits, tmp_path
    ):
        from ray_jobs import Task, marked

        recipe = Recipe("mlp", epochs=1, batch_size=256)
        models = [TrainPoolModel(recipe, Seed(0) / n, 0.5) for n in range(3)]
        models += [TrainPoolModel(recipe, Seed(0) / n, 0.5, fused=True) for n in range(3)]
        waiting = [Task(0, waits=True, dies=True), Task(1, waits=True)]
        failing = [Task(2, raises="data"), Task(3, raises="key")]
        jobs, states = [*waiting, *failing, *models, Task(4)], []

        def cancelled():
            # Once the queue knows of the cancelled job, the others go on.
            if states and states[-1].total == 10:
                (root / "released").touch()
            return jobs[-1:]

        def on_progress(state):
            states.append(state)
            return state

        # The error that is raised is the one that was recorded first.
        with pytest.raises((DataError, StalledError), match=r"a permanent error|KeyError: 'a bug'"):
            executor.run("killed", jobs, context, on_progress, cancelled)
        assert context.missing(jobs) == [*failing, jobs[-1]]
        assert (states[-1].done, states[-1].total, states[-1].failed) == (10, 10, 2)
        assert states[-1].restarts == 1
        assert states[-1].again >= 1
        # The job of the worker that died was begun again, and that of the other was not.
        assert [len(marked(root / f"started{n}")) for n in range(2)] == [2, 1]

        local = Context(digits, Store(tmp_path / "local"))
        LocalExecutor().run("train", models, local, lambda state: state)
        assert contents(context, models) == contents(local, models)

    def test_a_worker_that_dies_is_replaced_alone_while_the_other_has_a_job_in_hand(
        self, executor, context, root
    ):
        from ray_jobs import Task, marked

        jobs, states = [Task(0, waits=True), Task(1, waits=True)], []

        def kill_one():
            started = [marked(root / f"started{n}") for n in range(2)]
            if all(started) and not (root / "killed").exists():
                (root / "killed").touch()
                os.kill(started[1][0], signal.SIGKILL)
            # The replacement has the job of the dead one.
            if len(started[1]) == 2:
                (root / "released").touch()
            return ()

        executor.run("one dies", jobs, context, lambda s: states.append(s) or s, kill_one)
        (first,), (dead, replaced) = (marked(root / f"started{n}") for n in range(2))
        assert len({first, dead, replaced}) == 3
        assert (states[-1].restarts, states[-1].failed) == (1, 0)
        assert states[-1].again >= 1

    def test_stages_searches_and_streams_start_no_new_process(
        self, executor, study, digits, tmp_path, place
    ):
        from ray_jobs import marked

        before = workers_of(executor, study.context, digits, tmp_path / "before")
        candidate = Candidate("ray_jobs:Footprint", {"epochs": 1, "batch_size": 256})
        executor.search(
            "search", [searched(study, candidate, trials=4)], study.context, lambda s: s
        )
        trials = {*marked(place / "footprints" / "unlearners")}
        assert trials
        assert trials <= before
        moments = [*study.moments]
        shutil.rmtree(Path(study.context.store.root) / "moments")
        executor.stream(moments, study.context)
        assert study.context.missing(moments) == []
        assert workers_of(executor, study.context, digits, tmp_path / "after") == before

    def test_one_worker_of_two_is_paused_for_want_of_memory_and_the_other_does_all(
        self, executor, context, root, digits, tmp_path
    ):
        from ray_jobs import Hungry

        before = workers_of(executor, context, digits, tmp_path / "before")
        jobs, states = [Hungry(number) for number in range(12)], []
        executor.run("hungry", jobs, context, lambda s: states.append(s) or s)
        assert context.missing(jobs) == []
        assert (states[-1].done, states[-1].failed) == (12, 0)
        (full,), (done,) = root.glob("full-*"), root.glob("done-*")
        assert full.name.partition("-")[2] != done.name.partition("-")[2]
        # It is there again in the next stage.
        assert workers_of(executor, context, digits, tmp_path / "after") == before

    def test_an_error_of_a_listener_ends_the_stage_as_it_is(self, executor, context, root):
        from ray_jobs import Task

        jobs = [Task(number, waits=True) for number in range(20)]

        def full() -> None:
            if (root / "started0").exists():
                raise StoreError("the store is full")
            return ()

        with pytest.raises(StoreError, match=r"^the store is full$"):
            executor.run("full", jobs, context, lambda state: state, full)
        # Each worker finishes the job in its hands, and no other job is started.
        (root / "released").touch()
        wait_until(lambda: len(context.missing(jobs)) == 18)
        again = [Task(number) for number in range(20, 24)]
        executor.run("next", again, context, lambda state: state)
        assert context.missing(again) == []
        assert len(context.missing(jobs)) == 18

    def test_a_pool_leaves_its_resources_and_no_marker_in_the_store(self, context, root):
        from ray_jobs import Task

        before = wait_for_cpus()
        with beside() as other:
            other.run("beside", [Task(0)], context, lambda state: state)
            assert len([*root.glob(".command.*")]) == 1
        assert not [*root.glob(".command.*")]
        wait_until(lambda: free_cpus() == before)


class TestData:
    def test_streamed_results_are_those_of_one_process(self, executor, study, mini):
        context = study.context
        (row,) = (r for r in method_rows(study) if r.method == "rum" and r.source == "search")
        unlearned = UnlearnedModel(row.jobs[0])
        other = Partition((Subset("x", study.forget[::2]), Subset("y", study.forget[1::2])))
        jobs = [
            *study.moments,
            SubsetMoments(study.originals[0], other),
            SubsetMoments(unlearned, other),
            *map(CentroidDistances, study.originals),
        ]
        shutil.rmtree(Path(context.store.root) / "moments")
        found = []
        # The second one finds the centroids, and needs one pass.
        for each in (LocalExecutor(), executor):
            each.stream(jobs, context)
            found.append(contents(context, jobs))
            for kind in ("moments", "distances"):
                shutil.rmtree(Path(context.store.root) / kind)
        assert found[0] == found[1]
        stored = [mini.store / "moments" / f"{j.key(context).digest}.safetensors" for j in jobs[:2]]
        assert [path.read_bytes() for path in stored] == found[0][:2]


class TestTune:
    def test_a_search_runs_each_prefix_once_with_and_without_ray(self, executor, study):
        coarse = Candidate("finetune", {"lr": Choice((0.02, 0.1)), "epochs": 2, "batch_size": 256})
        search, context = searched(study, coarse, trials=8), study.context
        path, found = Path(context.store.path(search.key(context))), []
        for each in (executor, LocalExecutor()):
            states = []
            each.search("search", [search], context, lambda s, into=states: into.append(s) or s)
            ledger = search.ledger(context)
            assert (states[-1].done, states[-1].before) == (len(ledger.units), 0)
            jobs = [
                search.proposed(trial.answers, seed)
                for trial in ledger.trials
                for seed in range(len(trial.results))
            ]
            assert len(jobs) == len(ledger.units) > len(ledger.trials) == 8
            made = [context.store.provenance(job.key(context)) for job in jobs]
            paths = [
                (job.original, tuple(step.unlearner for step in job.plan.steps)) for job in jobs
            ]
            prefixes = {(original, plan[:n]) for original, plan in paths for n in (1, 2, 3)}
            assert sum(each["steps_run"] for each in made) == len(prefixes)
            assert sum(each["cache_hits"] for each in made) == 3 * len(paths) - len(prefixes)
            assert not list(path.parents[1].glob("prefix/*"))
            found.append(path.read_bytes())
            path.unlink()
            shutil.rmtree(path.parents[1] / "trial")
        assert found[0] == found[1]
        # Without Ray one trial follows the other.
        ends = sorted((each["time"], each["time"] - each["seconds"]) for each in made)
        assert all(began >= before for (before, _), (_, began) in pairwise(ends))

    def test_an_interrupted_search_resumes(self, executor, study):
        candidate = Candidate("finetune", {"epochs": 1, "batch_size": 256})
        search, context = searched(study, candidate, trials=6, batch=2), study.context

        def interrupt(state):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            executor.search("search", [search], context, interrupt)
        assert not context.store.has(search.key(context))
        states = []
        LocalExecutor().search("search", [search], context, lambda s: states.append(s) or s)
        ledger = search.ledger(context)
        assert (states[-1].done, len(ledger.trials)) == (len(ledger.units), 6)
        assert states[-1].before >= 1

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            ("broken:Refused", DataError, r"^nobody may learn this$"),
            ("broken:Broken", StalledError, r"^EvaluatePlan .*KeyError: 'of two\\nlines'\.$"),
        ],
    )
    def test_an_error_of_a_trial_ends_the_search(self, executor, study, name, error, message):
        search = searched(study, Candidate(name), trials=12, batch=1)
        states = []
        with pytest.raises(error, match=message):
            executor.search("search", [search], study.context, lambda s: states.append(s) or s)
        assert states == []
        assert not study.context.store.has(search.key(study.context))


def test_a_stage_without_capacity_ends_also_where_sigint_is_ignored(context, root, monkeypatch):
    from ray_jobs import Task

    from rum_ray.cluster import shards
    from rum_ray.cluster.executor import RayExecutor

    monkeypatch.setattr(shards, "NO_ROOM_SECONDS", 2.0)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        config = ClusterConfig(workers=1, gpus_per_worker=1.0)
        with (
            RayExecutor(config=config) as executor,
            pytest.raises(StalledError, match=r"'no room'.* [23] s: .*0\.99 GPU"),
        ):
            executor.run("no room", [Task(0)], context, lambda state: state)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
