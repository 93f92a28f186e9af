import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from rum_ray.data import DataBundle, LabeledData, LabelNoise, load
from rum_ray.data.bundle import complement
from rum_ray.data.splits import stratified_split
from rum_ray.errors import DataError
from rum_ray.seeding import Seed


@pytest.fixture
def data() -> LabeledData:
    return LabeledData(
        x=torch.arange(20.0).reshape(10, 2),
        y=torch.arange(10) % 3,
        ids=np.arange(10) * 7,
        mean=(0.5,),
        std=(2.0,),
    )


def test_defaults():
    data = LabeledData(np.zeros((4, 1, 2, 2)), [0, 2, 1, 0])
    assert data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64
    assert data.ids.tolist() == [0, 1, 2, 3]
    assert (data.num_classes, data.shape, len(data)) == (3, (1, 2, 2), 4)
    assert LabeledData(np.zeros((1, 1, 2, 2), np.uint8), [0]).x.dtype == torch.uint8


def test_processes_of_one_machine_share_the_arrays(data):
    buffers = []
    small = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    read_only = [memoryview(bytes(buffer)) for buffer in buffers]
    there = pickle.loads(small, buffers=read_only)
    places = {np.frombuffer(buffer, np.uint8).ctypes.data for buffer in read_only}
    assert {there.x.data_ptr(), there.y.data_ptr(), there.ids.ctypes.data} == places
    assert torch.equal(there.x, data.x)
    assert torch.equal(there.y, data.y)
    assert there.take([3]).x.add_(1.0).tolist() == [[7.0, 8.0]]
    assert (there.shape, there.mean, there.std) == (data.shape, data.mean, data.std)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0], [1.0]], [0]), r"shapes \(2, 1\), \(1,\)"),
        (([[0.0]], [[0]]), r"shapes \(1, 1\), \(1, 1\)"),
        (([[0.0]], [0], [1, 2]), r"\(1,\) and \(2,\)"),
        (([[0.0], [1.0]], [-1, 1]), r"labels .*0 \.\. 1.* -1 \.\. 1"),
        (([[0.0]], [3], None, 3), r"labels .*0 \.\. 2.* 3 \.\. 3"),
        (([[0.0], [1.0]], [0.0, 1.5]), "labels .*integers"),
        (([[0.0]], [float("nan")]), "labels .*NaN"),
        (([[0.0]], [0], [1.5]), r"ids .*float64 .*\(1,\)"),
        (([[0.0]], [0], [-1]), r"ids .* -1 \.\. -1"),
    ],
)
def test_invalid_data_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        LabeledData(*arguments)


BAD_ROWS = [
    ([-1], r"rows .*0 \.\. 9.* -1 \.\. -1"),
    ([3, 10], r"rows .*0 \.\. 9.* 3 \.\. 10"),
    ([1.5], r"rows .*float64 .*\(1,\)"),
    ([True, False], "rows .*bool"),
    ([[1, 2]], r"rows .*int64 .*\(1, 2\)"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_negative_and_invalid_rows_are_refused(data, rows, message):
    for use in (data.take, data.without, lambda rows: complement(rows, 10)):
        with pytest.raises(DataError, match=message):
            use(rows)


def test_ids_of_training_examples_are_unique(data):
    twice = data.take([4, 4, 1])
    assert twice.ids.tolist() == [28, 28, 7]
    with pytest.raises(DataError, match=r"ids .* 2 training examples of x .*28"):
        DataBundle("x", train=twice, valid=data, test=data)


def test_take_keeps_order_classes_and_normalisation(data):
    some = data.take([4, 1])
    assert some.ids.tolist() == [28, 7]
    assert some.y.tolist() == [1, 1]
    assert torch.equal(some.x, data.x[[4, 1]])
    assert (some.num_classes, some.mean, some.std) == (3, (0.5,), (2.0,))
    assert np.array_equal(data.take([4, 1, 8]).take([2, 0]).ids, data.take([8, 4]).ids)
    assert len(data.take([])) == 0


@given(st.sets(st.integers(0, 9)))
def test_take_and_without_are_complements(rows):
    data = LabeledData(torch.arange(10.0)[:, None], torch.zeros(10))
    kept = np.array(sorted(rows), dtype=np.int64)
    left = complement(kept, 10)
    assert np.array_equal(complement(left, 10), kept)
    assert np.array_equal(np.union1d(left, kept), np.arange(10))
    assert np.array_equal(data.without(kept).ids, data.take(left).ids)
    assert np.array_equal(data.without(data.without(kept).ids).ids, data.take(kept).ids)


def test_relabeled_changes_labels_only(data):
    other = data.relabeled([0] * 10)
    assert other.y.tolist() == [0] * 10
    assert other.num_classes == 3
    assert torch.equal(other.x, data.x)


@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=8).filter(any),
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.integers(),
)
def test_a_split_has_its_sizes_and_is_stratified(counts, sizes, root):
    y = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    if sum(sizes) > len(y):
        with pytest.raises(DataError, match=rf"{sum(sizes)} examples, .* {len(y)}\b"):
            stratified_split(y, tuple(sizes), Seed(root))
        return
    parts = stratified_split(y, tuple(sizes), Seed(root))
    assert [len(part) for part in parts] == sizes
    rows = np.concatenate(parts)
    assert len(np.unique(rows)) == len(rows)
    for part in parts:
        assert np.array_equal(part, np.sort(part))
        exact = len(part) * np.array(counts) / len(y)
        assert np.abs(np.bincount(y[part], minlength=len(counts)) - exact).max() <= 1 + 1e-9


def test_a_split_is_exact_where_proportions_are_integers():
    y = torch.arange(1000) % 10
    train, valid = stratified_split(y, (900, 100), Seed(0))
    assert torch.bincount(y[train]).tolist() == [90] * 10
    assert torch.bincount(y[valid]).tolist() == [10] * 10


def test_a_split_is_a_function_of_its_seed():
    y = torch.arange(100) % 3
    first, again, other = (stratified_split(y, (30, 20), Seed(seed)) for seed in (0, 0, 1))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.999])
def test_noise_flips_exactly_its_fraction(fraction):
    y = torch.arange(1000) % 7
    noisy = LabelNoise(fraction, Seed(0))(y, 7, "train")
    assert int((noisy != y).sum()) == int(fraction * 1000)
    assert noisy.min() >= 0
    assert noisy.max() < 7


def test_noise_is_a_function_of_seed_and_split():
    y = torch.arange(1000) % 7
    noise = LabelNoise(0.2, Seed(0))
    assert torch.equal(noise(y, 7, "train"), LabelNoise(0.2, Seed(0))(y, 7, "train"))
    assert not torch.equal(noise(y, 7, "train"), noise(y, 7, "valid"))
    assert not torch.equal(noise(y, 7, "train"), LabelNoise(0.2, Seed(1))(y, 7, "train"))
    assert y.equal(torch.arange(1000) % 7)


def test_noise_reaches_every_other_class():
    noisy = LabelNoise(0.9, Seed(0))(torch.zeros(1000, dtype=torch.int64), 5, "train")
    counts = torch.bincount(noisy, minlength=5)
    assert counts[0] == 100
    assert (counts[1:] > 180).all()


def test_digits():
    bundle = load("digits")
    parts = (bundle.train, bundle.valid, bundle.test)
    images, labels = load_digits(return_X_y=True)
    for part, y in zip(parts, (bundle.true_labels, bundle.valid.y, bundle.test.y), strict=True):
        assert np.array_equal(part.x.flatten(1) * 16, images[part.ids])
        assert np.array_equal(y, labels[part.ids])
    assert [len(part) for part in parts] == [1200, 200, 397]
    assert np.array_equal(np.sort(np.concatenate([part.ids for part in parts])), np.arange(1797))
    assert bundle.flipped.sum() == 120
    assert bundle.train.shape == (1, 8, 8)
    assert 0 <= bundle.train.x.min() < bundle.train.x.max() <= 1
    for part in (bundle.true_labels, bundle.valid.y, bundle.test.y):
        share = torch.bincount(part, minlength=10) / len(part)
        assert share.tolist() == pytest.approx([0.1] * 10, abs=0.01)


def test_nonmembers_of_digits_have_label_noise():
    bundle = load("digits")
    for split, flips in (("valid", 20), ("test", 39)):
        clean = getattr(bundle, split)
        assert int((bundle.nonmembers(split).y != clean.y).sum()) == flips
    assert load("digits", label_noise=0.0).flipped.sum() == 0
    with pytest.raises(ValueError, match=r"^label_noise .*1\.0"):
        load("digits", label_noise=1.0)
