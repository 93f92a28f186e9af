import dataclasses
import functools
import importlib
import io
import math
import operator
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from reference.streaming import embeddings

from rum_ray.cluster.jobs import countable_share
from rum_ray.cluster.metrics import NAMES
from rum_ray.cluster.worker import check_hardware
from rum_ray.data.batches import fixed_batches
from rum_ray.data.images import open_source
from rum_ray.errors import ConfigError, DataError, DivergedError, StalledError
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import CentroidDistances, Evaluate, SubsetMoments, UnlearnedModel
from rum_ray.jobs.accumulators import FREQUENCIES, SEED
from rum_ray.jobs.context import hardware
from rum_ray.models import build, embed
from rum_ray.rum import Partition, Plan, Subset
from rum_ray.scores.discrepancy import Waves, frequencies, median_gamma
from rum_ray.scores.entanglement import Moments
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.study.methods import method_rows
from rum_ray.training.domains import Choice
from rum_ray.unlearning import FineTune, NegGrad


def test_a_ray_that_does_not_start_in_time_is_told(monkeypatch):
    from rum_ray.cluster import connect

    def slow(**options):
        raise Exception("The current node timed out during startup.\nMore of that.")

    monkeypatch.setattr(connect.ray, "init", slow)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    message = r"^Ray did not start on this machine: The .* startup\. Try again when .*\.$"
    with pytest.raises(StalledError, match=message), connect.connect():
        pass
    with pytest.raises(ConfigError, match=r"expected local, auto or HOST:PORT"):
        connect.connect("nowhere").__enter__()


def test_a_worker_of_another_kind_is_told():
    mine = hardware(torch.device("cpu"))
    assert check_hardware(mine, dict(mine)) is None
    error = check_hardware(mine, {**mine, "torch": "1.0"})
    assert error.exit_code == 7
    assert "a worker has {'torch': '1.0'" in str(error)


@pytest.mark.parametrize("gpus", [0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.9, 1, 2])
@pytest.mark.parametrize("node", [1, 2, 4, 8])
def test_a_share_of_a_gpu_counts_as_many_workers_as_fit(gpus, node):
    share = countable_share(gpus)
    fit = node * math.floor(1 / gpus + 1e-9) if gpus < 1 else node // gpus
    assert node // share == fit
    assert share == round(share, 4)
    assert share <= max(gpus, 1)


def evaluations(study, unlearner) -> list[Evaluate]:
    """The jobs that measure an unlearner on the whole forget set."""
    plan = Plan.assign(study.partition, dict.fromkeys(study.partition.names, unlearner))
    return [Evaluate(o, study.partition, o.seed / "plan", "test", plan) for o in study.originals]


@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(r"ignore:::ray\..*", r"ignore:::optuna\..*")
@pytest.mark.usefixtures("ray_here")
class TestWorkers:
    def run(self, study, jobs) -> None:
        from rum_ray.cluster.jobs import run

        run("rows", jobs, study.context, ClusterConfig(workers=2), lambda standing: None)

    def test_a_job_that_diverges_ends_the_stage_when_the_others_are_done(self, study):
        good = evaluations(study, FineTune(epochs=1))
        bad = evaluations(study, NegGrad(lr=1e6, epochs=3))
        with pytest.raises(DivergedError, match=r"^neggrad (reached a loss of|ended with)") as told:
            self.run(study, [bad[0], *good, bad[1]])
        assert told.value.exit_code == 5
        assert "Lower lr" in str(told.value)
        assert [study.context.has(job) for job in (*good, *bad)] == [True, True, False, False]

    def test_a_plug_in_with_a_bug_ends_the_stage(self, study):
        broken = importlib.import_module("broken").Broken()
        good, bad = evaluations(study, FineTune(epochs=1)), evaluations(study, broken)
        with pytest.raises(StalledError, match=r"in each of 3 attempts: KeyError: "):
            self.run(study, [bad[0], *good])
        assert all(map(study.context.has, good))

    def test_a_search_runs_each_prefix_once_on_one_worker_or_two(self, study):
        from rum_ray.cluster import tune

        coarse = Candidate("finetune", {"lr": Choice((0.02, 0.1)), "epochs": 2})
        space = Space("V4", (coarse,), study.partition, ordered=True)
        whole = study.rungs[-1]
        config = dataclasses.replace(whole.config, trials=12, max_cost=9)
        search, context = dataclasses.replace(whole, space=space, config=config), study.context
        path, contents = Path(context.store.path(search.key(context))), []
        for workers in (2, 1):
            tune.run(search, context, workers, lambda *told: None)
            jobs = [search.proposed(trial["answers"]) for trial in search.load(context)]
            made = [context.store.provenance(job.key(context)) for job in context.distinct(jobs)]
            plans = {tuple(step.unlearner for step in job.plan.steps) for job in jobs}
            prefixes = {plan[:n] for plan in plans for n in (1, 2, 3)}
            assert sum(each["steps_run"] for each in made) == 3 * len(prefixes)
            assert sum(each["cache_hits"] for each in made) >= 3 * 6
            assert not list(path.parents[1].glob("prefix/*"))
            ends = sorted((each["time"], each["time"] - each["seconds"]) for each in made)
            alone = all(began >= before for (before, _), (_, began) in pairwise(ends))
            assert alone or workers > 1
            contents.append(path.read_bytes())
            path.unlink()
            shutil.rmtree(path.parents[1] / "trial")
        assert contents[0] == contents[1]

    def test_an_error_of_a_trial_ends_the_search(self, study):
        from rum_ray.cluster import tune

        (*_, whole), told = study.rungs, []
        space = Space("V4", (Candidate("broken:Refused"),), study.partition, ordered=True)
        config = dataclasses.replace(whole.config, trials=12, batch=1, max_cost=99)
        search = dataclasses.replace(whole, space=space, config=config)
        with pytest.raises(DataError, match=r"^nobody may learn this$"):
            tune.run(search, study.context, 1, lambda *standing: told.append(standing))
        assert told == []
        assert not study.context.store.has(search.key(study.context))

    @pytest.mark.parametrize("workers", [1, 2])
    def test_streamed_sums_are_those_of_one_process(self, study, mini, workers):
        from rum_ray.cluster.embed import stream

        context, jobs = study.context, study.moments
        shutil.rmtree(Path(context.store.root) / "moments")
        stream(context, jobs, workers)
        for job in jobs:
            made = Path(context.store.path(job.key(context)))
            assert made.read_bytes() == (mini.store / "moments" / made.name).read_bytes()
            check_sums(study, job)

    def test_streamed_distances_are_those_of_one_process(self, study):
        from rum_ray.cluster.embed import stream

        context = study.context
        jobs = [CentroidDistances(original) for original in study.originals]
        found = []
        for workers in (2, 1):
            stream(context, jobs, workers)
            paths = [Path(context.store.path(job.key(context))) for job in jobs]
            found.append([path.read_bytes() for path in paths])
            for job in jobs:
                points = embeddings(context, job.model)
                literal = [np.linalg.norm(point - points.mean(axis=0)) for point in points]
                np.testing.assert_allclose(job.load(context), literal, rtol=1e-9)
            for kind in ("centroid", "distances"):
                shutil.rmtree(Path(context.store.root) / kind)
        assert found[0] == found[1]

    def test_models_and_partitions_share_a_pass(self, study):
        from rum_ray.cluster.embed import stream

        context = study.context
        (row,) = (r for r in method_rows(study) if r.method == "rum" and r.source == "search")
        unlearned = UnlearnedModel(row.jobs[0])
        other = Partition((Subset("x", study.forget[::2]), Subset("y", study.forget[1::2])))
        jobs = [
            SubsetMoments(model, partition)
            for model in (*study.originals, unlearned)
            for partition in (study.partition, other)
        ]
        stream(context, jobs, 2)
        for job in jobs:
            points, found = embeddings(context, job.model), job.moments(context)
            for subset in job.partition:
                mean = points[subset.rows].mean(axis=0)
                np.testing.assert_allclose(found[subset.name].mean, mean, rtol=1e-9, atol=1e-12)
            assert sum(moments.count for moments in found.values()) == len(points)
        shutil.rmtree(Path(context.store.root) / "moments")

    def test_encoded_images_stream_like_those_in_memory(self, tmp_path):
        from rum_ray.cluster.embed import stream_moments

        pixels = (Seed(0) / "pixels").integers(620 * 64, 256).reshape(620, 8, 8).astype(np.uint8)
        files = [io.BytesIO() for _ in pixels]
        for file, image in zip(files, pixels, strict=True):
            Image.fromarray(image).save(file, "PNG")
        columns = {"image": [file.getvalue() for file in files], "label": [0, 1] * 310}
        pq.write_table(pa.table(columns), tmp_path / "d.parquet", row_group_size=100)
        source, groups = open_source(tmp_path / "d.parquet"), np.arange(620) % 3
        model = build("small_cnn", (1, 8, 8), 2).eval()
        with torch.inference_mode():
            parts = [
                embed(model, x)[:real].double().numpy()
                for x, real in fixed_batches(torch.from_numpy(pixels)[:, None], torch.device("cpu"))
            ]
        for workers in (1, 2):
            found = stream_moments(source, model, groups, workers=workers)
            for group in range(3):
                ranges = [
                    p[groups[k : k + 250] == group]
                    for p, k in zip(parts, (0, 250, 500), strict=True)
                ]
                exact = functools.reduce(operator.add, map(Moments.of, ranges))
                assert (found[group].count, found[group].scatter) == (exact.count, exact.scatter)
                assert np.array_equal(found[group].mean, exact.mean)
        with pytest.raises(DataError, match="one entry a row: 619 for 620 rows"):
            stream_moments(source, model, groups[1:])
        with pytest.raises(DataError, match=r"^groups must be 0 or more; found -1 \.\. 1\.$"):
            stream_moments(source, model, groups - 1)
        with pytest.raises(DataError, match=r"^groups must be integers \[N\]; got float64"):
            stream_moments(source, model, groups / 2)
        with pytest.raises(ValueError, match=r"^workers must be at least 1, got 0$"):
            stream_moments(source, model, groups, workers=0)
        blocks = build("resnet18", (1, 8, 8), 2)
        found = stream_moments(source, blocks, np.zeros(620, dtype=bool))
        assert (found[0].count, len(found[0].mean)) == (620, 512)
        columns["image"][301] = b"no image"
        pq.write_table(pa.table(columns), tmp_path / "d.parquet", row_group_size=100)
        with pytest.raises(DataError, match=r"^row 301 of .*d\.parquet cannot be decoded"):
            stream_moments(source, model, groups)


def check_sums(study, job) -> None:
    """Hold what was streamed of a model against its embeddings: by ranges, and in one go."""
    found, everything = job.load(study.context), embeddings(study.context, job.model)
    ranges = np.arange(0, len(everything), 250)[1:]
    group_of = np.full(len(everything), -1)
    for number, subset in enumerate(study.partition):
        group_of[subset.rows] = number
    pilot = everything[(SEED / "pilot").choice(len(everything), 1000)]
    gammas = {"paper": 1.0, "median": median_gamma(pilot)}
    drawn = [frequencies(FREQUENCIES, 256, gamma, SEED / name) for name, gamma in gammas.items()]
    retain = everything[group_of == -1]
    for number, name in enumerate([None, *study.partition.names], start=-1):
        sums = found.retain if name is None else found.subsets[name]
        parts = zip(np.split(everything, ranges), np.split(group_of, ranges), strict=True)
        inside = [points[groups == number] for points, groups in parts]
        exact = functools.reduce(operator.add, map(Moments.of, filter(len, inside)))
        assert (sums.moments.count, sums.moments.scatter) == (exact.count, exact.scatter)
        assert np.array_equal(sums.moments.mean, exact.mean)
        mine = everything[group_of == number]
        np.testing.assert_allclose(sums.moments.mean, mine.mean(axis=0), rtol=1e-9, atol=1e-12)
        for median in (False, True):
            waves = Waves.of(mine, drawn[median])
            np.testing.assert_allclose(sums.bandwidth(median).sums, waves.sums, atol=1e-8)
        if name is not None:
            seed = job.model.seed / "two_sample" / name
            assert found.two_sample_auc[name] == two_sample_auc(retain, mine, seed)


def test_every_metric_is_documented():
    page = Path(__file__).parents[2] / "deploy" / "README.md"
    assert not [name for name in NAMES if f"`ray_{name}`" not in page.read_text("utf-8")]
