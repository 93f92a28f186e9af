"""CIFAR-10 and CIFAR-100 as their binary archive and folder."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import published
import pytest

from rum_ray.data import cifar_binary, load
from rum_ray.errors import DataError, UnsafeError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder around the unpacked folder, and around nothing else."""
    place = tmp_path_factory.mktemp("binary")
    published.cifar100_binary(place / "cifar-100-binary")
    return place


@pytest.fixture
def packed(place, tmp_path):
    return published.archive(place / "cifar-100-binary", tmp_path / "cifar-100-binary.tar.gz")


def same(bundle, other) -> bool:
    parts = ("train", "valid", "test")
    return all(
        np.array_equal(getattr(getattr(bundle, part), array), getattr(getattr(other, part), array))
        for part in parts
        for array in ("x", "y", "ids")
    )


@pytest.mark.parametrize("kind", ["fine", "coarse"])
def test_every_form_gives_the_same_data(place, packed, tmp_path, kind):
    expected = load("cifar100", root=str(published.cifar100_parquet(tmp_path / "p")), labels=kind)
    for root in (place, place / "cifar-100-binary", packed, packed.parent):
        bundle = load("cifar100", root=str(root), labels=kind)
        assert same(bundle, expected)
        assert bundle.class_names == expected.class_names


def test_cifar10_is_read_in_the_published_order(tmp_path):
    folder = published.cifar10_binary(tmp_path / "cifar-10-batches-bin", each=6)
    packed = published.archive(folder, tmp_path / "cifar-10-binary.tar.gz")
    y = published.labels(10, 6)
    for root in (tmp_path, folder, packed):
        bundle = load("cifar10", root=str(root), valid_fraction=0)
        assert bundle.train.ids.tolist() == [*range(60)]
        assert bundle.train.y.tolist() == y.tolist()
        assert np.array_equal(bundle.train.x.numpy(), published.pictures(y, 32, "train"))
        assert (len(bundle.valid), len(bundle.test)) == (0, 20)
        assert bundle.class_names == tuple(published.TEN)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"CIFAR-10: it lacks 'data_batch_3\.bin'"):
        load("cifar10", root=str(folder))


def test_the_python_version_of_cifar10_is_told(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"Python version of CIFAR-10.*cifar-10-binary"):
        load("cifar10", root=str(tmp_path))


def test_a_part_is_told(place, caplog):
    load("cifar100", root=str(place))
    assert "300 training and 100 test images, not 50000 and 10000" in caplog.text


def test_a_complete_archive_must_have_the_published_sum(packed, monkeypatch, caplog):
    monkeypatch.setattr(cifar_binary, "COUNTS", (300, 100))
    with pytest.raises(DataError, match=r"MD5 sum \w{32}, .* published .*03b5dce01913d631647c71ec"):
        load("cifar100", root=str(packed))
    sum_of = hashlib.md5(packed.read_bytes()).hexdigest()
    monkeypatch.setitem(cifar_binary.MD5, "CIFAR-100", sum_of)
    assert len(load("cifar100", root=str(packed)).train) == 270
    assert not caplog.text


@pytest.mark.parametrize("name", ["train.bin", "test.bin", "fine_label_names.txt"])
def test_a_missing_file_is_named(place, tmp_path, name):
    folder = published.cifar100_binary(tmp_path / "cifar-100-binary", each=1)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"lacks '{name}'"):
        load("cifar100", root=str(tmp_path))
    packed = published.archive(folder, tmp_path / "short.tar.gz")
    with pytest.raises(DataError, match=rf"lacks '{name}'"):
        load("cifar100", root=str(packed))


def test_a_truncated_file_is_an_error(tmp_path):
    folder = published.cifar100_binary(tmp_path, each=1)
    content = (folder / "test.bin").read_bytes()
    for short in (content[:-1], b""):
        (folder / "test.bin").write_bytes(short)
        with pytest.raises(DataError, match=rf"test\.bin has {len(short):,} bytes"):
            load("cifar100", root=str(tmp_path))


def test_a_label_out_of_range_and_missing_classes_are_errors(tmp_path):
    folder = published.cifar100_binary(tmp_path, each=1)
    content = bytearray((folder / "test.bin").read_bytes())
    content[3074 * 5 + 1] = 100
    (folder / "test.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"row 5 of .*test\.bin has label 100"):
        load("cifar100", root=str(tmp_path))
    (folder / "train.bin").write_bytes(content[: 3074 * 4])
    with pytest.raises(DataError, match=r"class 4 \('fine_04'\) of .*train\.bin has no images"):
        load("cifar100", root=str(tmp_path))
    (folder / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(DataError, match=r"has 1 names, not 100"):
        load("cifar100", root=str(tmp_path))


def test_a_damaged_archive_is_an_error(packed):
    content = packed.read_bytes()
    for bad in (content[:5000], b"no archive", content[:40] + b"x" * 40 + content[80:], b""):
        packed.write_bytes(bad)
        with pytest.raises(DataError, match=r"cifar-100-binary\.tar\.gz"):
            load("cifar100", root=str(packed))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "cifar-100-binary.tar.gz"
    path.write_bytes(gzip.compress(bytes(2**20)))
    monkeypatch.setattr(cifar_binary, "MOST_BYTES", 2**20 - 1)
    with pytest.raises(UnsafeError, match="unpacked"):
        load("cifar100", root=str(path))


def test_members_that_are_no_files_are_not_followed(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        link = tarfile.TarInfo("cifar-100-binary/train.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
        packed.addfile(tarfile.TarInfo("cifar-100-binary/test.bin"), io.BytesIO())
    with pytest.raises(DataError, match=r"lacks 'train\.bin', 'fine_label_names\.txt'"):
        load("cifar100", root=str(path))


@pytest.mark.parametrize("name", ["cifar-100-python", "cifar-100-python.tar.gz", "meta"])
def test_the_python_version_is_told_from_the_binary_one(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name} .*Python version"):
        load("cifar100", root=str(tmp_path))
