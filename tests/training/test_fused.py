"""Fused training: the models of the plain loop, up to rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rum_ray.cluster.work import run_jobs
from rum_ray.data import LabeledData
from rum_ray.errors import ConfigError, DivergedError
from rum_ray.experiment import ClusterConfig, DataConfig, Experiment, ForgetConfig, ScoreConfig
from rum_ray.jobs import Context, Job, TrainPoolModel, train_together
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.testing import same_bits
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.fused import fit_together

RECIPE = Recipe("mlp", epochs=2, lr=0.1, batch_size=48)
SEEDS = [Seed(0) / "pool" / number for number in range(5)]


def rows_of(data, seeds):
    return [included_rows(len(data), 0.7, seed) for seed in seeds]


def together(recipe, data, seeds):
    return fit_together(recipe, data, rows_of(data, seeds), seeds, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pixels", [False, True])
def test_a_fused_model_equals_one_trained_alone_up_to_rounding(bundle, precision, pixels):
    data = bundle.train
    if pixels:
        bytes_of = (data.x.clamp(0, 1) * 255).to(torch.uint8)
        data = LabeledData(bytes_of, data.y, mean=(0.4,), std=(0.2,))
    recipe = replace(RECIPE, precision=precision, augment=pixels)
    found, seeds = together(recipe, data, SEEDS[:3]), SEEDS[:3]
    tolerance = 1e-3 if precision == "float32" else 0.15
    for model, rows, seed in zip(found, rows_of(data, seeds), seeds, strict=True):
        part = data.take(rows)
        alone, start = recipe.fit(part, LocalRuntime(seed)), recipe.build(part, seed / "init")
        assert not model.training
        for ours, theirs, first in zip(*map(params, (model, alone, start)), strict=True):
            # Relative to the distance between initial and trained weights.
            assert (ours - theirs).norm() < tolerance * (theirs - first).norm()


def params(model):
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize(("classes", "batch_size"), [(4, 48), (7, 37), (10, 51)])
def test_bits_do_not_depend_on_other_models_position_or_number(bundle, classes, batch_size):
    data, recipe = (
        replace(bundle.train, num_classes=classes),
        replace(RECIPE, batch_size=batch_size),
    )
    five = together(recipe, data, SEEDS)
    assert len({tuple(model.head.bias.tolist()) for model in five}) == 5
    for seeds in (SEEDS[:1], SEEDS[:2], SEEDS[::-1], [SEEDS[0], SEEDS[4]]):
        for seed, model in zip(seeds, together(recipe, data, seeds), strict=True):
            assert same_bits(model, five[SEEDS.index(seed)])


def pool(recipe=RECIPE, count=5):
    return [TrainPoolModel(recipe, seed, 0.7, keep=True, fused=True) for seed in SEEDS[:count]]


def records(context, jobs):
    return [context.load(job).checksum(job.key(context)) for job in jobs]


def test_the_store_has_the_same_records_for_any_grouping_of_models(bundle, tmp_path):
    jobs, first = pool(), Context(bundle, Store(tmp_path / "together"))
    assert train_together(first, jobs) == [None] * 5
    assert train_together(first, jobs) == [None] * 5
    alone = Context(bundle, Store(tmp_path / "alone"))
    for job in jobs[::2]:
        alone.get_or_compute(job)
    assert len(alone.missing(jobs)) == 2
    assert train_together(alone, jobs) == [None] * 5
    assert records(first, jobs) == records(alone, jobs)
    plain = [replace(job, fused=False) for job in jobs]
    assert first.missing(plain) == plain
    seconds = [first.store.provenance(job.key(first))["seconds"] for job in jobs]
    assert min(seconds) > 0


def test_a_diverged_model_does_not_affect_the_others(bundle, tmp_path):
    data = bundle.train
    left_out = np.setdiff1d(np.arange(len(data)), included_rows(len(data), 0.7, SEEDS[1]))
    only_first = np.intersect1d(left_out, included_rows(len(data), 0.7, SEEDS[0]))
    x = data.x.clone()
    x[only_first[0]] = torch.inf
    context = Context(replace(bundle, train=replace(data, x=x)), Store(tmp_path))
    jobs = pool(count=2)
    first, second = train_together(context, jobs)
    assert isinstance(first, DivergedError)
    assert "Lower lr" in str(first)
    assert second is None
    assert context.missing(jobs) == jobs[:1]


class SmallMemory(Context):
    """A device with memory for `capacity` models at a time."""

    capacity = 2
    attempts: list[int]

    def missing(self, jobs):
        found = super().missing(jobs)
        self.attempts.append(len(found))
        if len(found) > self.capacity:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return found


def outcomes(context, jobs):
    """The number and the error of each job."""
    return [(outcome.number, outcome.error) for outcome in run_jobs(context, jobs)]


def test_out_of_memory_trains_fewer_together_with_the_same_bits(bundle, tmp_path):
    jobs = pool()
    context = SmallMemory(bundle, Store(tmp_path / "small"))
    object.__setattr__(context, "attempts", [])
    numbered: dict[int, Job] = dict(enumerate(jobs, start=7))
    assert outcomes(context, numbered) == [(number, None) for number in numbered]
    assert context.attempts == [5, 2, 3, 2]
    large = Context(bundle, Store(tmp_path / "large"))
    train_together(large, jobs)
    assert records(large, jobs) == records(context, jobs)


def test_out_of_memory_midway_keeps_saved_models(bundle, tmp_path, monkeypatch):
    kept, jobs, context = [], pool(), Context(bundle, Store(tmp_path))
    save = Context.save

    def keep(self, job, artifact, seconds):
        if len(kept) == 2:
            kept.append(None)
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")
        kept.append(job)
        save(self, job, artifact, seconds)

    monkeypatch.setattr(Context, "save", keep)
    assert outcomes(context, dict(enumerate(jobs))) == [(n, None) for n in range(5)]
    assert kept == [*jobs[:2], None, *jobs[2:]]


def test_jobs_without_fused_are_trained_one_by_one(bundle, tmp_path, monkeypatch):
    context, plain = Context(bundle, Store(tmp_path)), [replace(j, fused=False) for j in pool()]
    monkeypatch.delattr("rum_ray.cluster.work.train_together")
    assert outcomes(context, dict(enumerate(plain))) == [(n, None) for n in range(5)]
    assert not context.missing(plain)


def test_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"^score\.fused: .*cluster\.gpus_per_worker"):
        Experiment(
            name="e",
            data=DataConfig("digits"),
            recipe=RECIPE,
            score=ScoreConfig(fused=True),
            forget=ForgetConfig(size=10),
            cluster=ClusterConfig(gpus_per_worker=1),
        )


@pytest.mark.parametrize("where", ["recipe", "score"])
def test_other_models_than_an_mlp_are_refused(where):
    cnn = Recipe("small_cnn")
    score = ScoreConfig(fused=True, recipe=cnn if where == "score" else None)
    recipe = cnn if where == "recipe" else RECIPE
    with pytest.raises(ConfigError, match=r"^score\.fused: .*'small_cnn'"):
        Experiment(
            name="e",
            data=DataConfig("digits"),
            recipe=recipe,
            score=score,
            forget=ForgetConfig(size=10),
        )
