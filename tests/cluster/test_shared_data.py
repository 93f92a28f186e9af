"""Large data go through a file that workers map, small ones through Ray's object store."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rum_ray.cluster import shared_data
from rum_ray.cluster.shared_data import MappedFile, load_shared, share
from rum_ray.errors import IntegrityError
from rum_ray.jobs import Context
from rum_ray.store import Store


@pytest.fixture(autouse=True)
def no_files_are_left():
    yield
    for path in [*shared_data._HELD]:
        shared_data.release(MappedFile(path, b"", (), 0))


@pytest.fixture
def small_store(monkeypatch) -> None:
    monkeypatch.setattr(shared_data, "object_store_bytes", lambda: 4 * 1000.0)


@pytest.mark.usefixtures("small_store")
def test_large_data_are_mapped_and_have_the_same_values(bundle, tmp_path):
    context = Context(bundle, Store(tmp_path))
    handle = share(context, tmp_path / "data")
    assert isinstance(handle, MappedFile)
    assert hash(handle) == hash(pickle.loads(pickle.dumps(handle)))
    loaded = load_shared(handle)
    for split in ("train", "valid", "test"):
        ours, theirs = getattr(bundle, split), getattr(loaded.bundle, split)
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)
    assert loaded.train_fingerprint == context.train_fingerprint
    assert len(handle.head) < 20_000


@pytest.mark.usefixtures("small_store")
def test_a_mapped_array_is_no_copy_and_cannot_be_changed(tmp_path):
    value = {"a": np.arange(10_000.0), "b": np.arange(7, dtype=np.uint8), "c": "text"}
    handle = share(value, tmp_path)
    code = (
        "import sys, pickle; handle = pickle.load(sys.stdin.buffer); value = handle.load(); "
        "print(value['a'].sum(), value['b'].tolist(), value['c'], value['a'].flags.writeable)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(handle), capture_output=True, check=True
    )
    assert done.stdout.decode() == f"{value['a'].sum()} {[*range(7)]} text False\n"


@pytest.mark.usefixtures("small_store")
@pytest.mark.parametrize("cut", [False, True])
def test_a_file_with_other_bytes_is_refused(tmp_path, cut):
    handle = share({"a": np.arange(10_000.0), "b": np.arange(3)}, tmp_path)
    with Path(handle.path).open("r+b") as file:
        if cut:
            file.truncate(50_000)
        else:
            file.seek(50_000)
            file.write(b"\xff")
    with pytest.raises(IntegrityError, match=str(tmp_path)):
        handle.load()


def test_small_data_and_those_without_a_folder_go_through_ray(tmp_path, monkeypatch):
    put = []
    monkeypatch.setattr(shared_data.ray, "put", lambda value: put.append(value) or "a reference")
    monkeypatch.setattr(shared_data, "object_store_bytes", lambda: 4 * 80_000.0)
    small, large = np.arange(10_000.0), np.arange(10_001.0)
    assert share(small, tmp_path) == "a reference"
    assert isinstance(share(large, tmp_path), MappedFile)
    assert share(large, None) == "a reference"
    assert [len(value) for value in put] == [10_000, 10_001]
