"""Published scores: CIFAR-100 and ImageNet by Feldman and Zhang, CIFAR-10 by the authors of RUM."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from rum_ray.data import LabeledData
from rum_ray.data.ids import Names
from rum_ray.errors import DataError, ScoreError, UnsafeError
from rum_ray.scores import published
from rum_ray.scores.files import read_scores
from rum_ray.seeding import Seed

TOTAL = 40
LABELS = (Seed(0) / "labels").integers(TOTAL, 5)
VALUES = (Seed(0) / "values").uniform(TOTAL).astype(np.float32)
IDS = np.array([3, 4, 8, 39])
WNIDS = [f"n0{at}" for at in range(5)]
FILES = [f"{WNIDS[label]}_{at}.JPEG" for at, label in enumerate(LABELS)]


def examples(ids=IDS, y=None, names=None) -> LabeledData:
    y = LABELS[ids] if y is None else y
    found = None if names is None else Names(np.array(names, dtype=object))
    return LabeledData(torch.zeros(len(ids), 1), y, ids=ids, num_classes=5, names=found)


@pytest.fixture
def write(tmp_path):
    def write(**arrays) -> str:
        np.savez(tmp_path / "scores.npz", **arrays)
        return str(tmp_path / "scores.npz")

    return write


def cifar100(**changed) -> dict[str, np.ndarray]:
    """The arrays of `cifar100_infl_matrix.npz`, with a matrix of influence per class."""
    arrays = {"tr_mem": VALUES, "tr_labels": LABELS, "tt_labels": LABELS[:10]}
    for label in range(5):
        rows = np.flatnonzero(label == LABELS)
        arrays[f"tr_classidx_{label}"] = rows
        arrays[f"infl_matrix_class{label}"] = np.zeros((len(rows), 2), np.float32)
    return {**arrays, **changed}


def imagenet(**changed) -> dict[str, np.ndarray]:
    """The arrays of `imagenet_index.npz`; the names are bytes in an array of objects."""
    names = np.array([name.encode() for name in FILES], dtype=object)
    return {"tr_mem": VALUES, "tr_labels": LABELS, "tr_filenames": names, **changed}


def test_scores_go_to_the_rows_with_their_ids(write):
    scores = read_scores(write(**cifar100()), examples())
    assert scores.name == "memorization"
    assert np.array_equal(scores.values, VALUES[IDS].astype(np.float64))
    assert np.isnan(scores.standard_errors).all()


def test_scores_without_labels_are_read_and_told(write, caplog):
    scores = read_scores(write(memorization=VALUES, influence=np.zeros((2, 2))), examples())
    assert np.array_equal(scores.values, VALUES[IDS].astype(np.float64))
    assert "no labels, so the order of its 40 scores cannot be verified" in caplog.text


def test_the_order_of_the_labels_must_be_ours(write):
    order = (Seed(1) / "order").permutation(TOTAL)
    path = write(**cifar100(tr_labels=LABELS[order]))
    wrong = np.flatnonzero(LABELS[order] != LABELS)
    with pytest.raises(
        ScoreError, match=rf"{len(wrong)} of 40 differ, first that of id {wrong[0]},"
    ):
        read_scores(path, examples(np.arange(TOTAL)))
    with pytest.raises(ScoreError, match=r"1 of 4 differ, first that of id 4,"):
        y = LABELS[IDS]
        y[1] = (y[1] + 1) % 5
        read_scores(write(**cifar100()), examples(y=y))


def test_the_number_of_scores_must_fit(write):
    short = {"tr_mem": VALUES[:39], "tr_labels": LABELS[:39]}
    with pytest.raises(ScoreError, match=r"has 39 scores, but ids .* up to 39\."):
        read_scores(write(**cifar100(**short)), examples())
    with pytest.raises(ScoreError, match="has 40 values of 'tr_mem', but 39 of 'tr_labels'"):
        read_scores(write(**cifar100(tr_labels=LABELS[:39])), examples())
    with pytest.raises(ScoreError, match="has 40 values of 'tr_mem', but 39 of 'tr_filenames'"):
        read_scores(write(**imagenet(tr_filenames=np.array(FILES[:39]))), examples(names=FILES[:4]))


NAMES = [f"{FILES[at].partition('_')[0]}/{FILES[at]}" for at in IDS]


@pytest.mark.parametrize(
    "names",
    [
        np.array([name.encode() for name in FILES], dtype=object),
        np.array(FILES, dtype=object),
        np.array([name.encode() for name in FILES]),
        np.array(FILES),
    ],
    ids=["objects of bytes", "objects of text", "bytes", "text"],
)
def test_scores_go_to_the_files_with_their_names(write, names):
    data = examples(np.arange(5), y=LABELS[[*IDS, 0]], names=[*NAMES, "n00/of_mine.JPEG"])
    scores = read_scores(write(**imagenet(tr_filenames=names)), data)
    expected = [*VALUES[IDS].astype(np.float64), np.nan]
    assert np.array_equal(scores.values, expected, equal_nan=True)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_names_are_read_from_pickles_of_every_protocol(write, tmp_path, protocol):
    path = write(tr_mem=VALUES, tr_labels=LABELS)
    stream = io.BytesIO()
    names = np.array([name.encode() for name in FILES], dtype=object)
    header = {"descr": "|O", "fortran_order": False, "shape": (TOTAL,)}
    np.lib.format.write_array_header_1_0(stream, header)
    pickle.dump(names, stream, protocol=protocol)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tr_filenames.npy", stream.getvalue())
    scores = read_scores(path, examples(names=NAMES))
    assert np.array_equal(scores.values, VALUES[IDS].astype(np.float64))


class Harmful:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(write, tmp_path):
    harm = tmp_path / "harm"
    names = np.array([Harmful(harm), *FILES[1:]], dtype=object)
    with pytest.raises(ScoreError, match="39 of 'tr_filenames'"):
        read_scores(write(**imagenet(tr_filenames=names)), examples(names=NAMES))
    objects = np.array([Harmful(harm)] * TOTAL, dtype=object)
    for key in ("tr_mem", "tr_labels"):
        with pytest.raises(ScoreError, match=rf"'{key}' .* vector of numbers"):
            read_scores(write(**cifar100(**{key: objects})), examples())
    assert not harm.exists()


def test_classes_of_files_may_have_other_numbers_but_not_other_members(write):
    path = write(**imagenet())
    renumbered = examples(y=(LABELS[IDS] + 3) % 5, names=NAMES)
    assert np.array_equal(read_scores(path, renumbered).values, VALUES[IDS].astype(np.float64))
    y = LABELS[IDS]
    same = next(at for at in range(1, 4) if y[at] in y[:at])
    y[same] = next(label for label in range(5) if label not in y)
    with pytest.raises(ScoreError, match=r"class \d of one is classes \d, \d of the other"):
        read_scores(path, examples(y=y, names=NAMES))


def test_scores_by_name_need_names_that_they_know(write):
    path = write(**imagenet())
    with pytest.raises(ScoreError, match=r"row numbers only"):
        read_scores(path, examples())
    with pytest.raises(ScoreError, match=r"'a\.png', 'b\.png'.*'n0\d_0\.JPEG'"):
        read_scores(path, examples(IDS[:2], names=["x/a.png", "y/b.png"]))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scores": VALUES}, r"lacks 'tr_mem', 'memorization'\. Its arrays are 'scores'"),
        ({"tr_mem": VALUES[None]}, r"'tr_mem' .* float32 of shape \(1, 40\)"),
        ({"tr_mem": np.array(FILES)}, "'tr_mem' .* vector of numbers"),
    ],
)
def test_other_arrays_are_errors(write, arrays, message):
    with pytest.raises(ScoreError, match=message):
        read_scores(write(**arrays), examples())


def test_a_proxy_is_not_in_a_published_file(write):
    with pytest.raises(ScoreError, match=r"scores\.npz has memorization only, .* 'confidence'"):
        read_scores(write(**cifar100()), examples(), "confidence")


def test_damaged_files_are_data_errors(write, tmp_path):
    path = write(**cifar100())
    content = (tmp_path / "scores.npz").read_bytes()
    start = content.index(VALUES.tobytes())
    damaged = content[:start] + b"!" + content[start + 1 :]
    for bad in (b"", b"PK", content[:500], damaged):
        (tmp_path / "scores.npz").write_bytes(bad)
        with pytest.raises(DataError, match=r"scores\.npz cannot be read as an \.npz file"):
            read_scores(path, examples())
    with pytest.raises(DataError, match=r"nowhere\.npz does not exist"):
        read_scores(tmp_path / "nowhere.npz", examples())
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="folder, not a plain file"):
        read_scores(tmp_path / "folder.npz", examples())


@pytest.mark.parametrize("shape", [(10**12,), (41,), (39,), (-1,)])
def test_a_header_that_does_not_fit_is_an_error_without_memory(tmp_path, shape):
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        archive.writestr("tr_mem.npy", stream.getvalue() + VALUES.tobytes())
    with pytest.raises(DataError, match="'tr_mem' is truncated"):
        read_scores(tmp_path / "s.npz", examples())


def test_a_large_array_is_refused_before_it_is_read(write, monkeypatch):
    path = write(**cifar100(infl_matrix_class0=np.zeros(10_000)))
    monkeypatch.setattr(published, "MOST_BYTES", 1000)
    assert len(read_scores(path, examples())) == 4
    monkeypatch.setattr(published, "MOST_BYTES", 100)
    with pytest.raises(UnsafeError, match=r"'tr_mem' of .* refused"):
        read_scores(path, examples())
