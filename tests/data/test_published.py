"""CIFAR-100 and SVHN as Parquet files; the options that all published data sets share."""

import numpy as np
import published
import pyarrow.parquet as pq
import pytest
import torch

from rum_ray.data import DATASETS, load
from rum_ray.errors import ConfigError, DataError
from rum_ray.seeding import Seed


@pytest.fixture(scope="module")
def cifar100(tmp_path_factory):
    return str(published.cifar100_parquet(tmp_path_factory.mktemp("cifar100"), shards=2))


@pytest.fixture(scope="module")
def svhn(tmp_path_factory):
    return str(published.svhn_parquet(tmp_path_factory.mktemp("svhn")))


def whole(bundle) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of D and V in the order of the source."""
    order = np.argsort(np.concatenate([bundle.train.ids, bundle.valid.ids]))
    x, y = (torch.cat([getattr(s, a) for s in (bundle.train, bundle.valid)]) for a in "xy")
    return x[order].numpy(), y[order].numpy()


@pytest.mark.parametrize("kind", ["fine", "coarse"])
def test_cifar100_has_the_labels_that_are_asked_for(cifar100, kind):
    bundle = load("cifar100", root=cifar100, labels=kind)
    fine = published.labels(100, 3)
    x, y = whole(bundle)
    assert np.array_equal(x, published.pictures(fine, 32, "train"))
    assert np.array_equal(y, fine if kind == "fine" else fine // 5)
    assert bundle.class_names == tuple(published.FINE if kind == "fine" else published.COARSE)
    assert np.array_equal(bundle.test.x, published.pictures(published.labels(100, 1), 32, "test"))
    assert bundle.train.mean == (0.5071, 0.4866, 0.4409)


def test_the_classes_of_svhn_are_digits(svhn):
    bundle = load("svhn", root=svhn)
    x, y = whole(bundle)
    assert np.array_equal(y, published.labels(10, 12))
    assert np.array_equal(x, published.pictures(y, 32, "train"))
    assert bundle.class_names == tuple("0123456789")


def test_the_parts_are_stratified_and_repeatable(svhn):
    options = {"root": svhn, "size": 100, "test_size": 20, "valid_fraction": 0.3}
    bundle, again = (load("svhn", seed=4, **options) for _ in range(2))
    parts = bundle.train, bundle.valid, bundle.test
    assert [torch.bincount(part.y).tolist() for part in parts] == [[7] * 10, [3] * 10, [2] * 10]
    assert not {*bundle.train.ids} & {*bundle.valid.ids}
    assert np.array_equal(again.train.ids, bundle.train.ids)
    assert not np.array_equal(load("svhn", seed=5, **options).train.ids, bundle.train.ids)
    assert not len(load("svhn", root=svhn, valid_fraction=0).valid)


@pytest.mark.parametrize("name", sorted({*DATASETS} - {"digits", "images"}))
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"test_size": 0}, ConfigError, r"^test_size .*\b0\b"),
        ({"root": "nowhere"}, DataError, r"nowhere"),
    ],
)
def test_wrong_options_of_every_published_data_set(name, options, error, message):
    with pytest.raises(error, match=message):
        load(name, **{"root": ".", **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 121}, DataError, r"\b121 .*\b120\b"),
        ({"test_size": 41}, DataError, r"\b41 .*\b40\b"),
        ({"valid_fraction": 1.0}, ConfigError, "valid_fraction: 1 "),
    ],
)
def test_more_images_than_there_are(svhn, options, error, message):
    with pytest.raises(error, match=message):
        load("svhn", root=svhn, **options)


def test_every_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r": train\.parquet, test\.parquet\. .*cifar-100-binary"):
        load("cifar100", root=str(tmp_path))
    published.cifar100_parquet(tmp_path, shards=3)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match=r"lacks 'train-00001-of-00003\.parquet'"):
        load("cifar100", root=str(tmp_path))
    for file in tmp_path.glob("train-*"):
        file.unlink()
    with pytest.raises(DataError, match=r": train\.parquet\. "):
        load("cifar100", root=str(tmp_path))


def test_another_data_set_is_refused_by_its_columns_or_its_form(svhn, cifar100, tmp_path):
    with pytest.raises(DataError, match=r"not CIFAR-100: .*'fine_label'.*'image', 'label'"):
        load("cifar100", root=svhn)
    with pytest.raises(DataError, match=r"not SVHN: .*'label'"):
        load("svhn", root=cifar100)
    y = (Seed(0) / "y").integers(60, 3)
    columns = {"image": published.pictures(y, 32, "train"), "label": y}
    small = published.table(columns, {"label": list("abc")}, "image")
    for part in published.PARTS:
        pq.write_table(small, tmp_path / f"{part}.parquet")
    with pytest.raises(DataError, match=r"not SVHN: .*\(3, 3, 32, 32\), not \(10, 3, 32, 32\)"):
        load("svhn", root=str(tmp_path))
