"""Labels, class names and ids of sources, and the order of their classes."""

import io
import json
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rum_ray.data import parquet
from rum_ray.data.classes import Classes
from rum_ray.data.source import open_source
from rum_ray.errors import ConfigError, DataError, UnsafeError


def encoded(shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (4, 4), shade).save(stream, "PNG")
    return stream.getvalue()


PNG = encoded()


def write(path: Path, columns: dict, metadata: dict[str, str] | None = None) -> Path:
    images = pa.array([PNG] * len(next(iter(columns.values()))), pa.binary())
    table = pa.table({"image": images, **columns})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def features(**columns: list[str]) -> dict[str, str]:
    """Return metadata as the library `datasets` writes them."""
    found = {name: {"_type": "ClassLabel", "names": names} for name, names in columns.items()}
    found["image"] = {"_type": "Image"}
    return {"huggingface": json.dumps({"info": {"features": found}})}


def test_a_long_text_that_many_rows_share_takes_no_memory(tmp_path):
    # Without compression, its rows would have 20 GB.
    labels = pa.DictionaryArray.from_arrays(
        pa.array(np.tile([0, 1], 10_000), pa.int32()), pa.array(["x" * 10**6, "y"])
    )
    path = write(tmp_path / "a.parquet", {"label": labels})
    assert path.stat().st_size < 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"a\.parquet has a label of 1,000,000 bytes"):
        open_source(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


def test_an_image_that_many_rows_share_is_read_in_small_batches(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"label": [0, 1] * 50})
    monkeypatch.setattr(parquet, "MOST_BATCH", 1000)
    sizes = []
    iterate = pq.ParquetFile.iter_batches

    def watched(self, batch_size=65536, **options):
        sizes.append(batch_size)
        return iterate(self, batch_size=batch_size, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    source = open_source(path)
    assert [data for _, data in source.encoded(np.arange(100))] == [PNG] * 100
    assert 1 <= sizes[-1] < 1000 // len(PNG)


@pytest.mark.parametrize(("limit", "value"), [("MOST_ROWS", 3), ("MOST_DECLARED", 10)])
def test_a_file_that_declares_too_much_is_refused(tmp_path, monkeypatch, limit, value):
    path = write(tmp_path / "a.parquet", {"label": ["a", "b"] * 2})
    monkeypatch.setattr(parquet, limit, value)
    with pytest.raises(UnsafeError, match=r"a\.parquet is refused"):
        open_source(path)


def test_memory_that_is_not_there_is_an_error_of_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"label": ["a", "b"] * 2})

    def fail(*args, **options):
        raise MemoryError

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(DataError, match=r"a\.parquet .*memory"):
        open_source(path)


def test_labels_of_many_lengths_are_not_widened(tmp_path):
    texts = ["a" * 4000, "b"] * 2 + [""]
    train = open_source(write(tmp_path / "a.parquet", {"label": texts}))
    test = open_source(write(tmp_path / "b.parquet", {"label": texts[:2]}), like=train)
    assert train.class_names == ("", "a" * 4000, "b")
    assert (train.y.tolist(), test.y.tolist()) == ([1, 2, 1, 2, 0], [1, 2])


def test_files_have_their_paths_as_names(tmp_path):
    names = ["cat/b c.png", "cat/é.png", "dog/1.png"]
    source = open_source(folder(tmp_path, *reversed(names)))
    assert source.names.values.tolist() == names
    assert source.names.column is None


def test_hugging_face_class_names_are_read(tmp_path):
    path = write(tmp_path / "a.parquet", {"label": [0, 1, 2, 1]}, features(label=["x", "y", "z"]))
    source = open_source(path)
    assert source.class_names == ("x", "y", "z")
    assert source.y.tolist() == [0, 1, 2, 1]


def test_the_only_column_with_class_names_has_the_labels(tmp_path):
    columns = {"kind": [0, 1, 1], "width": [3, 4, 5]}
    path = write(tmp_path / "a.parquet", columns, features(kind=["x", "y"]))
    assert open_source(path).class_names == ("x", "y")


@pytest.mark.parametrize(
    ("label", "names", "y"),
    [("fine", ("a", "b", "c"), [0, 1, 2, 1]), ("coarse", ("u", "v"), [0, 1, 1, 1])],
)
def test_a_key_chooses_among_label_columns(tmp_path, label, names, y):
    columns = {"fine": [0, 1, 2, 1], "coarse": [0, 1, 1, 1]}
    metadata = features(fine=["a", "b", "c"], coarse=["u", "v"])
    path = write(tmp_path / "a.parquet", columns, metadata)
    with pytest.raises(DataError, match=r"a\.parquet has 2 possible label columns.*data\.label"):
        open_source(path)
    source = open_source(path, label=label)
    assert (source.class_names, source.y.tolist()) == (names, y)


@pytest.mark.parametrize("categories", [None, ["dog", "cow", "cat", "unused"]])
def test_pandas_categories_are_text(tmp_path, categories):
    label = pd.Series(["cat", "dog", "cow", "dog"])
    frame = pd.DataFrame({"image": [PNG] * 4})
    frame["label"] = pd.Categorical(label, categories=categories, ordered=categories is not None)
    frame["taken"] = pd.Timestamp("2026-01-01")
    frame["id"] = pd.Categorical([7, 8, 9, 10])
    frame.to_parquet(tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet", id="id")
    assert source.class_names == ("cat", "cow", "dog")
    assert source.y.tolist() == [0, 2, 1, 2]
    assert source.names.values.tolist() == ["7", "8", "9", "10"]


def test_ids_that_occur_twice_are_told_by_their_rows(tmp_path):
    columns = {"label": list("abab"), "id": ["jane", "joe", "jane", "ann"]}
    with pytest.raises(DataError, match=r"1 values in several rows, first in row 0\.") as caught:
        open_source(write(tmp_path / "a.parquet", columns), id="id")
    assert "jane" not in str(caught.value)


def test_a_category_that_is_null_is_an_error(tmp_path):
    label = pd.Categorical(["cat", None, "dog"])
    pd.DataFrame({"image": [PNG] * 3, "label": label}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"row 1 of .*a\.parquet .*null"):
        open_source(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("columns", "keys", "error", "message"),
    [
        ({"label": [[1], [2]]}, {}, UnsafeError, r"'label' of .*list<.*Cast the column"),
        ({"label": [0.5, 1]}, {}, DataError, r"'label' of .*double.*Cast"),
        ({"label": [True, False]}, {}, DataError, r"'label' of .*bool.*Cast"),
        ({"label": [0, 1]}, {"label": "labl"}, ConfigError, r"data\.label: .*'labl'.*'label'"),
        ({"label": [0, 1]}, {"id": "user"}, ConfigError, r"data\.id: .*a\.parquet .*'user'"),
        ({"label": [0, 1], "user": [1.5, 2]}, {"id": "user"}, DataError, r"ids .*'user'.*double"),
        ({"label": [0, 1], "user": ["a", None]}, {"id": "user"}, DataError, r"row 1 .*no id"),
        ({"label": [0, 1], "user": [4, 4]}, {"id": "user"}, DataError, r"'user' .*in row 0"),
        ({"label": [0, 1], "u": [0, 1]}, {"label": "u", "id": "u"}, DataError, r"0 possible"),
    ],
)
def test_a_column_that_does_not_fit_is_an_error(tmp_path, columns, keys, error, message):
    path = write(tmp_path / "a.parquet", columns)
    with pytest.raises(error, match=message):
        open_source(path, **keys)


def test_a_type_that_runs_no_code_is_not_said_to(tmp_path):
    path = write(tmp_path / "a.parquet", {"label": [0, 1], "tags": [["a"], []]})
    with pytest.raises(UnsafeError) as caught:
        open_source(path)
    assert "run code" not in str(caught.value)


@pytest.mark.parametrize("key", ["label", "id"])
def test_a_folder_of_classes_has_no_columns(tmp_path, key):
    folder(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(ConfigError, match=rf"data\.{key} .*folder of classes"):
        open_source(tmp_path, **{key: "x"})


def test_folders_of_splits_are_no_classes(tmp_path):
    folder(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    with pytest.raises(DataError, match=r"splits, not classes.*train"):
        open_source(tmp_path)


def test_classes_that_look_alike_are_refused(tmp_path):
    folder(tmp_path, "caf\u00e9/1.png", "cafe\u0301/1.png")
    with pytest.raises(DataError, match=r"look alike"):
        open_source(tmp_path)


def test_a_test_source_may_lack_classes(tmp_path):
    train = open_source(folder(tmp_path / "train", "a/1.png", "b/1.png", "caf\u00e9/1.png"))
    tested = folder(tmp_path / "test", "cafe\u0301/1.png", "b/1.png")
    (tested / "empty").mkdir()
    found = open_source(tested, like=train)
    assert found.class_names == train.class_names
    assert [train.class_names[y] for y in found.y] == ["b", "caf\u00e9"]
    labels = open_source(write(tmp_path / "a.parquet", {"label": ["b", "b"]}), like=train)
    assert labels.y.tolist() == [1, 1]


def test_numbers_of_a_test_source_are_those_of_the_training_source(tmp_path):
    train = open_source(write(tmp_path / "a.parquet", {"label": [0, 1, 2, 3]}))
    assert open_source(write(tmp_path / "b.parquet", {"label": [3, 3]}), like=train).y.tolist() == [
        3,
        3,
    ]
    folders = open_source(folder(tmp_path / "c", *(f"{i}/1.png" for i in range(12))))
    found = open_source(write(tmp_path / "d.parquet", {"label": [2, 10]}), like=folders)
    assert [folders.class_names[y] for y in found.y] == ["2", "10"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({"label": ["a", "b"]}, {"label": ["a", "c", "d"]}, r"2 classes that .*'c', 'd'"),
        ({"label": ["a", "b"]}, {"label": [0, 1]}, r"2 classes that .*'0', '1'"),
        ({"label": [0, 1]}, {"label": [1, 2]}, r"row 1 of .*label 2.* 0 \.\. 1"),
        ({"label": [0, 1]}, {"label": []}, r"b\.parquet has no images"),
    ],
)
def test_a_test_source_with_other_classes_is_an_error(tmp_path, train, test, message):
    source = open_source(write(tmp_path / "a.parquet", train))
    kind = pa.string() if not test["label"] else None
    path = write(tmp_path / "b.parquet", {"label": pa.array(test["label"], kind)})
    with pytest.raises(DataError, match=message):
        open_source(path, like=source)


MODEL = Classes.of_model(("cat", "dog", "owl"))


@pytest.mark.parametrize("kind", ["folders", "texts"])
def test_the_classes_of_a_model_stay_when_examples_go(tmp_path, kind):
    def opened(name, *labels):
        if kind == "texts":
            return open_source(write(tmp_path / f"{name}.parquet", {"label": labels}), like=MODEL)
        return open_source(folder(tmp_path / name, *(f"{n}/1.png" for n in labels)), like=MODEL)

    left = opened("left", "cat", "owl")
    assert (left.class_names, left.y.tolist()) == (("cat", "dog", "owl"), [0, 2])
    assert opened("one", "owl").y.tolist() == [2]
    with pytest.raises(DataError, match=r"1 class that the model .*: 'bat'.*another --out"):
        opened("more", "bat", "cat", "dog", "owl")


def test_numbers_stay_those_of_the_model_when_examples_go(tmp_path):
    numbers = Classes.of_model(("0", "1", "2", "3"))
    left = open_source(write(tmp_path / "a.parquet", {"label": [0, 3, 3]}), like=numbers)
    assert (left.class_names, left.y.tolist()) == (("0", "1", "2", "3"), [0, 3, 3])
    with pytest.raises(DataError, match=r"label 4.* 0 \.\. 3"):
        open_source(write(tmp_path / "b.parquet", {"label": [0, 4]}), like=numbers)
    named = write(tmp_path / "c.parquet", {"label": [2, 0]}, features(label=["cat", "dog", "owl"]))
    assert open_source(named, like=MODEL).y.tolist() == [2, 0]
    more = features(label=["bat", "cat", "dog", "owl"])
    with pytest.raises(DataError, match=r"are not those of the model .*'bat'"):
        open_source(write(tmp_path / "d.parquet", {"label": [2, 0]}, more), like=MODEL)


def test_names_of_numbers_have_one_order(tmp_path):
    train = open_source(
        write(tmp_path / "a.parquet", {"label": [0, 1]}, features(label=["x", "y"]))
    )
    other = write(tmp_path / "b.parquet", {"label": [0, 1]}, features(label=["y", "x"]))
    with pytest.raises(DataError, match=r"b\.parquet .*order"):
        open_source(other, like=train)
    plain = write(tmp_path / "c.parquet", {"label": [1, 0]})
    assert open_source(plain, like=train).y.tolist() == [1, 0]


@pytest.mark.parametrize(
    "size", [0, -1, (), (8,), (8, 8, 8), (0, 8), (0, 0), 7072, (1, 50_000_001)]
)
def test_a_size_that_is_no_size_is_refused(tmp_path, size):
    with pytest.raises(ConfigError, match=r"^data\.size "):
        open_source(folder(tmp_path, "a/1.png", "b/1.png"), size=size)


@pytest.mark.parametrize("option", [{"fit": "zoom"}, {"exif": True}])
def test_a_fit_that_is_unknown_is_refused(tmp_path, option):
    with pytest.raises(ConfigError, match=r"^data\.(fit|exif) "):
        open_source(folder(tmp_path, "a/1.png", "b/1.png"), **option)


def test_channels_of_a_stream_are_those_of_the_whole_source(tmp_path):
    path = tmp_path / "s"
    for i in range(6):
        (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((4, 4, 3) if i == 5 else (4, 4), np.uint8)
        Image.fromarray(pixels).save(path / "ab"[i % 2] / f"{i}.png")
    images = open_source(path).images()
    assert images.layout.channels == 3
    assert images.decode(np.arange(2)).shape == (2, 3, 4, 4)


def test_a_file_that_does_not_exist_is_told_as_such(tmp_path):
    """Its remedy is another path; a damaged file is replaced or removed."""
    with pytest.raises(DataError, match=r"no\.parquet does not exist"):
        parquet.read_labels([tmp_path / "no.parquet"])
