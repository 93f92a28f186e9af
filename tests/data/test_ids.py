import numpy as np
import pytest

from rum_ray.data.ids import read_ids, read_rows
from rum_ray.errors import DataError

IDS = np.array([3, 10, 11, 40])


def test_ids_become_sorted_rows(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("\ufeff40\n 3 \r\n11")
    rows = read_rows(path, IDS)
    assert rows.tolist() == [0, 2, 3]
    assert rows.dtype == np.int64
    assert read_ids(path) == {40: 1, 3: 2, 11: 3}


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text("10")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_rows("~/ids.txt", IDS).tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"ids\.txt is empty; name at least one example to forget"),
        (b"3\n\n", r"line 2: expected a plain integer, got ''"),
        (b"3\nx7", r"line 2: expected a plain integer, got 'x7'"),
        (b"-3", r"line 1: expected a plain integer, got '-3'"),
        (b"3.0", r"line 1: expected a plain integer, got '3\.0'"),
        ("٣".encode(), r"line 1: expected a plain integer"),
        (b"9" * 5000, r"line 1: expected a plain integer, got '9{40}'"),
        (b"3\n10\n3\n", r"id 3 is on lines 1 and 3"),
        (
            b"3\n4",
            r"line 2: id 4 is not in the training set, whose 4 ids lie in 3 \.\. 40\. Ids are",
        ),
        (b"\xff\xfe3", r"ids\.txt is no text: invalid start byte"),
        (None, r"the list of ids .*ids\.txt cannot be read: No such file"),
    ],
)
def test_bad_lists(tmp_path, content, message):
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(path, IDS)
