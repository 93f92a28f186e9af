"""Embeddings streamed in ranges: order, sharing and requirements."""

import numpy as np
import pytest
from reference.streaming import embeddings

from rum_ray.data import load
from rum_ray.errors import IntegrityError
from rum_ray.jobs import CentroidDistances, Context, TrainModel
from rum_ray.jobs.stream import in_order, stream_here, stream_jobs
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
