"""The context computes the digest of a job once, and holds no job for it."""

import dataclasses
import gc
import pickle
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rum_ray.jobs import Context, TrainModel, TrainPoolModel
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.training import Recipe

RECIPE = Recipe("mlp", epochs=1)


@pytest.fixture
def context(bundle, tmp_path) -> Context:
    return Context(bundle, Store(tmp_path))


@pytest.fixture
def digests(monkeypatch) -> Iterator[list[str]]:
    """The kinds of all keys of pool models that are made."""
    made, key = [], TrainPoolModel.key

    def counted(self: TrainPoolModel, context: Context) -> Key:
        made.append("pool")
        return key(self, context)

    monkeypatch.setattr(TrainPoolModel, "key", counted)
    return made


def pool(models: int) -> list[TrainPoolModel]:
    return [TrainPoolModel(RECIPE, Seed(0) / m, 0.5) for m in range(models)]


def test_a_digest_is_computed_once_per_job_and_context(context, digests):
    jobs = pool(3)
    for _ in range(3):
        assert context.distinct(jobs) == context.missing(jobs) == jobs
        assert not any(map(context.has, jobs))
    assert len(digests) == 3
    for job in jobs:
        context.save(job, Artifact(value=1), 0.0)
        assert context.load(job).value == context.get_or_compute(job).value == 1
    assert sorted(number for number, _ in context.load_each(jobs)) == [0, 1, 2]
    assert len(digests) == 3
    other = Context(context.bundle, context.store)
    assert other.missing(jobs) == []
    assert len(digests) == 6


def test_a_key_is_that_of_the_job(context, bundle):
    for job in (*pool(2), TrainModel(RECIPE, Seed(0))):
        for _ in range(2):
            key = context.key(job)
            assert (key.kind, key.digest) == (job.key(context).kind, job.key(context).digest)
    fewer = dataclasses.replace(bundle, train=bundle.train.take(range(9)), true_labels=None)
    other = Context(fewer, context.store)
    assert other.key(job).digest == job.key(other).digest != context.key(job).digest


def test_jobs_are_forgotten(context):
    jobs = pool(5)
    context.missing(jobs)
    references = [weakref.ref(job) for job in jobs]
    del jobs
    gc.collect()
    assert not any(reference() for reference in references)
    assert len(context._keys) == 0


def test_a_context_with_keys_is_pickled_without_them(context):
    jobs = pool(2)
    context.missing(jobs)
    other = pickle.loads(pickle.dumps(context))
    assert "_keys" not in vars(other)
    assert [other.key(job).digest for job in jobs] == [context.key(job).digest for job in jobs]


def test_equal_values_that_are_different_jobs_have_one_digest(context):
    twice = [pool(1)[0], pool(1)[0]]
    assert len(context.distinct(twice)) == 1
    assert context.distinct(twice) == twice[1:]


@dataclass(frozen=True)
class Valued:
    """A job of a plug-in that is equal to others of the same value."""

    number: int

    def key(self, context: Context) -> Key:
        return Key("valued", {"number": self.number})


def test_jobs_that_are_compared_by_value(context):
    one, same, other = Valued(1), Valued(1), Valued(2)
    assert context.key(one).digest == context.key(same).digest != context.key(other).digest
