"""A store in an S3 bucket: the same results as in a folder, and no writer overwrites another."""

import threading

import numpy as np
import pytest
import torch
from logs import logged
from s3_server import report_of

import rum_ray as rr
from rum_ray.data import load
from rum_ray.errors import IntegrityError, StoreError
from rum_ray.jobs import Context, TrainModel
from rum_ray.resume import StoredRuntime
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.training import LocalRuntime, Recipe

KEY, OTHER = Key("model", {"lr": 0.1}), Key("model", {"lr": 0.2})
ARTIFACT = Artifact({"x": np.arange(6.0).reshape(2, 3), "y": np.array(7)}, {"status": "ok"})


@pytest.fixture
def store(server) -> Store:
    return Store(server.bucket())


def test_round_trip(store):
    assert store.find(KEY) is None
    assert store.have([KEY, OTHER]) == [False, False]
    with pytest.raises(StoreError, match=r"^model .* is not in the store s3://"):
        store.load(KEY)
    store.save(KEY, ARTIFACT, {"seconds": 1})
    store.save(KEY, ARTIFACT, {"seconds": 2})
    for each in (store, Store(store.root)):
        found = each.load(KEY)
        assert found.value == ARTIFACT.value
        assert {n: a.tolist() for n, a in found.arrays.items()} == {
            n: a.tolist() for n, a in ARTIFACT.arrays.items()
        }
        assert each.provenance(KEY) == {"seconds": 1}
        assert each.provenance(OTHER) == {}
        assert each.have([KEY, OTHER, KEY]) == [True, False, True]
    with store.lock(KEY), store.lock(KEY):
        pass
    store.discard("model")
    assert not store.has(KEY)
    assert store.folder is None


def test_the_bits_are_those_of_a_folder(store, tmp_path):
    local = Store(tmp_path)
    for each in (store, local):
        each.save(KEY, ARTIFACT, {"seconds": 1})
    for suffix in ("safetensors", "json"):
        path = f"model/{KEY.digest}.{suffix}"
        assert store._place.read(path) == local._place.read(path)


def test_a_damaged_object_is_quarantined_and_replaced(store):
    store.save(KEY, ARTIFACT, {})
    content = store._place.read(f"model/{KEY.digest}.safetensors")
    store._place.replace(f"model/{KEY.digest}.safetensors", content[:-1])
    with logged("a/store/quarantine"):
        assert store.find(KEY) is None
    assert len(store._place.sizes("quarantine")) == 1
    store.save(KEY, ARTIFACT, {})
    assert store.find(KEY) is not None


def test_two_writers_of_different_bits_are_told(store):
    """Both looked before either wrote, as two processes do that compute the same result."""
    one, two = store, Store(store.root)
    assert one.find(KEY) is two.find(KEY) is None
    one.save(KEY, ARTIFACT, {"by": "one"})
    with pytest.raises(IntegrityError, match=r"^model .* different bits"):
        two.save(KEY, Artifact(value=2), {"by": "two"})
    assert store.load(KEY).value == ARTIFACT.value
    assert store.provenance(KEY) == {"by": "one"}


def test_all_but_one_of_many_writers_are_told(store):
    start, told = threading.Barrier(6), []

    def save(number: int) -> None:
        start.wait()
        try:
            Store(store.root).save(KEY, Artifact(value=number), {})
        except IntegrityError:
            told.append(number)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*told, store.load(KEY).value]) == [*range(6)]


def test_a_training_resumes_from_a_checkpoint_in_the_bucket(store):
    data = load("digits").train.take(range(60))
    recipe = Recipe("mlp", epochs=4, batch_size=16)
    expected = recipe.fit(data, LocalRuntime(Seed(0))).state_dict()
    runtime = StoredRuntime(Seed(0), store, "job", checkpoint_seconds=0.0)
    for epoch in runtime.epochs(3):
        assert store.checkpoint(runtime._name) is None or epoch
    assert list(runtime.epochs(3)) == []
    runtime.remove_checkpoints()
    assert store.checkpoint(runtime._name) is None

    class Killed(Exception):  # noqa: N818
        pass

    class Dying(StoredRuntime):
        def _save_checkpoint(self, epoch, state):
            super()._save_checkpoint(epoch, state)
            if epoch == 2:
                raise Killed

    with pytest.raises(Killed):
        recipe.fit(data, Dying(Seed(0), store, "job", checkpoint_seconds=0.0))
    assert runtime._restore({}) == 2
    resumed = recipe.fit(data, runtime).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())
    foreign = StoredRuntime(Seed(0), store, "other", checkpoint_seconds=0.0)
    store.save_checkpoint(foreign._name, store.checkpoint(runtime._name))
    assert list(foreign.epochs(2)) == [0, 1]


def test_a_finished_job_leaves_no_checkpoint_in_the_bucket(store):
    context = Context(load("digits"), store)
    job = TrainModel(Recipe("mlp", epochs=1, batch_size=256), Seed(0))
    store.save_checkpoint(f"{context.key(job).digest}-part", b"torn")
    store.save_checkpoint("other-part", b"")
    context.get_or_compute(job)
    assert store._place.sizes("states") == {"other-part": 0}


def test_a_run_has_the_report_of_a_run_in_a_folder(server, tmp_path):
    root = server.bucket()
    expected = report_of(tmp_path / "store")
    assert report_of(root, rr.LocalExecutor()) == expected
    before = len(server.requests())
    assert report_of(root) == expected
    again = {line.partition(" ")[0] for line in server.requests()[before:]}
    assert again == {"GET", "HEAD"}
