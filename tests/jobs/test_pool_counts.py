"""A pool is counted record by record, with the same bits as from whole matrices."""

import numpy as np
import pytest

import rum_ray as rr
from rum_ray.errors import StoreError
from rum_ray.jobs import Context, TrainPoolModel, pool_bits, pool_counts
from rum_ray.scores.memorization import InOutCounts
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Store, packs
from rum_ray.training import Recipe

MODELS = 23
Matrices = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def jobs() -> list[TrainPoolModel]:
    return [TrainPoolModel(Recipe("mlp"), Seed(0) / m, 0.5) for m in range(MODELS)]


@pytest.fixture
def matrices(bundle, jobs) -> Matrices:
    draws = [(job.seed / "bits").uniform(2 * len(bundle.train)) < 0.5 for job in jobs]
    included, correct = np.stack(draws).reshape(MODELS, 2, -1).transpose(1, 0, 2)
    return included, correct


@pytest.fixture(params=["alone", "packed"])
def context(request, bundle, tmp_path, jobs, matrices, monkeypatch) -> Context:
    """A store with the records of all models; most are in packs, or none."""
    context = Context(bundle, Store(tmp_path))
    for job, *bits in zip(jobs, *matrices, strict=True):
        record = dict(zip(("included", "correct"), map(np.packbits, bits), strict=True))
        context.save(job, Artifact(record), 0.0)
    if request.param == "packed":
        monkeypatch.setattr(packs, "PACK_RECORDS", 5)
        context.store.pack({"pool"})
        assert len([*(tmp_path / "packs" / "pool").iterdir()]) == 4
    return context


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_counts_are_those_of_the_matrices(context, jobs, matrices, groups):
    included, correct = matrices
    counts = pool_counts(context, jobs, groups)
    for group, found in enumerate(counts):
        expected = InOutCounts.of(included[group::groups], correct[group::groups])
        for name, values in vars(expected).items():
            assert np.array_equal(getattr(found, name), values)
    scores, whole = sum(counts[1:], start=counts[0]).scores(), rr.memorization(included, correct)
    assert scores.values.tobytes() == whole.values.tobytes()
    assert scores.standard_errors.tobytes() == whole.standard_errors.tobytes()


def test_bits_of_rows_are_those_of_the_matrices(context, jobs, matrices):
    for rows in (None, np.array([5, 0, 159, 7, 8]), np.array([], dtype=np.int64)):
        expected = matrices if rows is None else [matrix[:, rows] for matrix in matrices]
        for found, matrix in zip(pool_bits(context, jobs, rows).arrays(), expected, strict=True):
            assert np.array_equal(found, matrix)
    reverse = pool_bits(context, jobs[::-1], np.arange(3)).arrays()
    assert np.array_equal(reverse[0], matrices[0][::-1, :3])


def test_a_missing_record_is_an_error(context, jobs):
    context.store.discard("pool")
    with pytest.raises(StoreError, match=r"^pool "):
        pool_counts(context, jobs)
