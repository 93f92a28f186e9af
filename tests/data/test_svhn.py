"""SVHN as MAT-files of format 2."""

import hashlib
import importlib

import numpy as np
import published
import pytest
import scipy.io

from rum_ray.data import load
from rum_ray.errors import DataError


@pytest.mark.parametrize("compress", [True, False])
def test_mat_and_parquet_give_the_same_data(tmp_path, compress):
    mat = load("svhn", root=str(published.svhn_mat(tmp_path / "mat", compress=compress)))
    parquet = load("svhn", root=str(published.svhn_parquet(tmp_path / "parquet")))
    for part in ("train", "valid", "test"):
        ours, theirs = getattr(mat, part), getattr(parquet, part)
        for array in ("x", "y", "ids"):
            assert np.array_equal(getattr(ours, array), getattr(theirs, array))
    assert mat.class_names == parquet.class_names
    assert mat.train.mean == (0.4377, 0.4438, 0.4728)


def test_a_complete_file_must_have_the_published_sum(tmp_path, monkeypatch):
    published.svhn_mat(tmp_path)
    module = importlib.import_module("rum_ray.data.svhn")
    monkeypatch.setattr(module, "SUMS", {120: "0" * 32})
    with pytest.raises(DataError, match=r"train_32x32\.mat has the MD5 sum \w{32}, .*0{32}"):
        load("svhn", root=str(tmp_path))
    found = hashlib.md5((tmp_path / "train_32x32.mat").read_bytes()).hexdigest()
    monkeypatch.setattr(module, "SUMS", {120: found})
    assert len(load("svhn", root=str(tmp_path)).train) == 108


def test_a_missing_file_is_named(tmp_path):
    published.svhn_mat(tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"lacks 'test_32x32\.mat'"):
        load("svhn", root=str(tmp_path))


@pytest.mark.parametrize("name", ["digitStruct.mat", "train.tar.gz"])
def test_format_1_is_told_from_format_2(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{name} .*format 1.*train_32x32\.mat"):
        load("svhn", root=str(tmp_path))


X = np.zeros((32, 32, 3, 2), np.uint8)
Y = np.array([[10], [1]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": X}, "lacks the arrays 'y'"),
        ({"y": Y}, "lacks the arrays 'X'"),
        ({"X": X.astype(float), "y": Y}, "float64"),
        ({"X": X[:28], "y": Y}, r"\(28, 32, 3, 2\)"),
        ({"X": X, "y": Y[:1]}, r"\(32, 32, 3, 2\), .*\(32, 32, 3, 1\) for 1 labels"),
        ({"X": X, "y": np.array([[1], [0]])}, r"image 1 of .* has label 0"),
        ({"X": X, "y": np.array([[11], [1]])}, r"image 0 of .* has label 11"),
        ({"X": X, "y": Y}, r"class 2 \('2'\) of .* has no images"),
    ],
)
def test_other_arrays_are_errors(tmp_path, content, message):
    published.svhn_mat(tmp_path)
    scipy.io.savemat(tmp_path / "train_32x32.mat", content)
    with pytest.raises(DataError, match=message):
        load("svhn", root=str(tmp_path))
