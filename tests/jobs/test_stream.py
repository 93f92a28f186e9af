"""Embeddings streamed in ranges: order, sharing, requirements, and literal sums."""

import functools
import operator

import numpy as np
import pytest
from reference.streaming import embeddings

from rum_ray.data import load
from rum_ray.errors import IntegrityError
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.jobs import CentroidDistances, Context, EmbeddingMoments, TrainModel
from rum_ray.jobs.accumulators import FREQUENCIES, SEED
from rum_ray.jobs.stream import in_order, stream_here, stream_jobs
from rum_ray.partition import Partition, Subset
from rum_ray.scores.discrepancy import Waves, frequencies, median_gamma
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training.recipe import Recipe


def parts(*ranges: int):
    """The measurements of ranges, with two probes each."""
    return [(number, probe, (number, probe)) for number in ranges for probe in (0, 1)]


@pytest.mark.parametrize("ranges", [[0, 1, 2, 3, 4], [3, 1, 4, 0, 2], [4, 3, 2, 1, 0]])
def test_parts_come_in_the_order_of_the_ranges(ranges):
    expected = [(probe, (number, probe)) for number in range(5) for probe in (0, 1)]
    assert list(in_order(parts(*ranges), 5, 2)) == expected


@pytest.mark.parametrize("ranges", [[0, 1, 3, 4], [0, 1, 1, 2], [0, 1, 2, 3, 4, 2], []])
def test_a_lost_or_doubled_range_is_an_error(ranges):
    with pytest.raises(IntegrityError, match=r"\d of 5 ranges"):
        list(in_order(parts(*ranges), 5, 2))


def test_distances_are_to_the_mean_and_jobs_share_a_pass(tmp_path):
    context = Context(load("digits"), Store(tmp_path))
    recipe, passes = Recipe("mlp", epochs=1, batch_size=256), []
    models = [TrainModel(recipe, Seed(0) / name) for name in "ab"]

    def stream(rows, probes):
        passes.append([probe.name for probe in probes])
        return stream_here(rows, probes)

    jobs = [CentroidDistances(model) for model in models]
    stream_jobs(context, jobs, stream)
    assert [len(names) for names in passes] == [2, 2]
    for job in jobs:
        points = embeddings(context, job.model)
        literal = np.linalg.norm(points - points.mean(axis=0), axis=1)
        np.testing.assert_allclose(job.load(context), literal, rtol=1e-9)
    stream_jobs(context, jobs[:1], stream)
    assert [len(names) for names in passes] == [2, 2, 1]


def test_streamed_sums_are_those_of_the_embeddings(tmp_path):
    """By ranges bit for bit, and in one go to rounding."""
    context = Context(load("digits"), Store(tmp_path))
    total, recipe = len(context.bundle.train), Recipe("mlp", epochs=1, batch_size=256)
    partition = Partition((Subset("a", np.arange(3, 60, 3)), Subset("b", np.arange(700, 740))))
    job = EmbeddingMoments(TrainModel(recipe, Seed(0)), partition)
    stream_jobs(context, [job], stream_here)
    found, points = job.load(context), embeddings(context, job.model)
    group_of = np.full(total, -1)
    for number, subset in enumerate(partition):
        group_of[subset.rows] = number
    pilot = points[(SEED / "pilot").choice(total, 1000)]
    gammas = {"paper": 1.0, "median": median_gamma(pilot)}
    width = points.shape[1]
    drawn = [frequencies(FREQUENCIES, width, gamma, SEED / name) for name, gamma in gammas.items()]
    for number, name in enumerate([None, *partition.names], start=-1):
        sums = found.retain if name is None else found.subsets[name]
        starts = range(0, total, 250)
        ranges = [points[k : k + 250][group_of[k : k + 250] == number] for k in starts]
        exact = functools.reduce(operator.add, map(Moments.of, filter(len, ranges)))
        assert (sums.moments.count, sums.moments.scatter) == (exact.count, exact.scatter)
        assert np.array_equal(sums.moments.mean, exact.mean)
        mine = points[group_of == number]
        np.testing.assert_allclose(sums.moments.mean, mine.mean(axis=0), rtol=1e-9, atol=1e-12)
        for median in (False, True):
            waves = Waves.of(mine, drawn[median])
            np.testing.assert_allclose(sums.bandwidth(median).sums, waves.sums, atol=1e-8)
        if name is not None:
            seed = job.model.seed / "two_sample" / name
            auc = two_sample_auc(points[group_of == -1], mine, seed)
            assert found.two_sample_auc[name] == pytest.approx(auc)
