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


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text("10")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_rows("~/ids.txt", IDS).tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"ids\.txt is empty"),
        (b"3\n\n", r"ids\.txt line 2: .*''"),
        (b"3\nx7", r"ids\.txt line 2: .*'x7'"),
        (b"-3", r"ids\.txt line 1: .*'-3'"),
        (b"3.0", r"ids\.txt line 1: .*'3\.0'"),
        ("٣".encode(), r"ids\.txt line 1: .*'٣'"),
        (b"9" * 5000, r"ids\.txt line 1: .*'9{40}'"),
        (b"3\n10\n3\n", r"ids\.txt: id 3 .*lines 1 and 3"),
        (b"3\n4", r"ids\.txt line 2: id 4 .*3 \.\. 40"),
        (b"\xff\xfe3", r"ids\.txt .*UTF-8"),
        (None, r"ids\.txt .*No such file"),
    ],
)
def test_an_invalid_list_is_an_error_with_path_and_line(tmp_path, content, message):
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(path, IDS)
