import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.data.ids import KnownIds, Names, canonical, parse_list, read_list
from rum_ray.errors import DataError

ROWS = KnownIds(np.array([3, 10, 11, 40]))
PATHS = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/caf\u00e9.png", "dog/cafe\u0301s.png")
FILES = KnownIds(np.array([0, 1, 2, 5, 7]), Names(np.array(PATHS, dtype=object)))
VALUES = KnownIds(np.arange(3), Names(np.array(["7", "u1", "0"], dtype=object), "user"))


def test_a_list_has_one_id_per_line(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeff40\n 3 \r\ncat/a b.png\u2028x".encode())
    assert read_list(path) == ("40", "3", "cat/a b.png\u2028x")
    assert parse_list("1\n2\n", "x") == ("1", "2")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text("10")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_list("~/ids.txt") == ("10",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"ids\.txt is empty"),
        (b"3\n\n4", r"ids\.txt line 2 "),
        (b"3\n  \n", r"ids\.txt line 2 "),
        (b"\xff\xfe3", r"ids\.txt .*UTF-8"),
        (None, r"ids\.txt .*No such file"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_with_its_place(tmp_path, content, message):
    path = tmp_path / "ids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(path)


def test_what_is_no_plain_file_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(DataError, match="not a plain file"):
            read_list(path)


def test_ids_become_sorted_rows():
    rows = ROWS.rows(["40", "3", "11"])
    assert rows.tolist() == [0, 2, 3]
    assert rows.dtype == np.int64


def test_a_file_has_a_path_and_a_row_number():
    assert FILES.rows(["dog/1.png", "0", "5"]).tolist() == [0, 2, 3]


def test_with_a_column_a_number_is_its_value_and_no_row():
    assert VALUES.rows(["0", "7"]).tolist() == [0, 2]
    with pytest.raises(DataError, match=r"entry 1 of .*'user'"):
        VALUES.rows(["1"])


@pytest.mark.parametrize("known", [ROWS, FILES, VALUES])
@pytest.mark.parametrize(
    "entry", ["x7", "-3", "3.0", "٣", "9" * 5000, "", "4", "cat/1.PNG", "1.png"]
)
def test_an_unknown_id_is_an_error(known, entry):
    with pytest.raises(DataError, match=r"^here: 1 of 1 ids ") as caught:
        known.rows([entry], "here")
    assert len(str(caught.value)) < 500


def test_one_error_has_all_problems_up_to_ten_and_their_number():
    unknown = [f"x{i}" for i in range(25)]
    entries = ["cat/1.png", *unknown, "0", "dog/1.png", "dog/1.png"]
    with pytest.raises(DataError) as caught:
        FILES.rows(entries, "list.txt")
    message = str(caught.value)
    assert "list.txt: 25 of 29 ids are not in the training set of 5 examples: entry 2, " in message
    assert " 10, 11 and 15 more of the list." in message
    assert "2 examples are listed twice: entry 1 = 27, 28 = 29 of the list." in message
    # Ids are personal data.
    assert not [each for each in {*entries} - {"0"} if each in message]


def test_accents_are_equal_however_they_are_encoded():
    assert FILES.rows(["dog/cafe\u0301.png", "dog/caf\u00e9s.png"]).tolist() == [3, 4]
    with pytest.raises(DataError, match="listed twice"):
        FILES.rows(["dog/cafe\u0301.png", "dog/caf\u00e9.png"])


def test_two_files_that_look_alike_are_told():
    twins = ("a/caf\u00e9.png", "a/cafe\u0301.png", "a/x.png")
    known = KnownIds(np.arange(3), Names(np.array(twins, dtype=object)))
    for name in twins[:2]:
        with pytest.raises(DataError, match=r"look like another.*: entry 2 of") as caught:
            known.rows(["a/x.png", name])
        assert "a/" not in str(caught.value)
    assert known.rows([twins[1], twins[0]]).tolist() == [0, 1]
    assert known.find([twins[1]]) == [[1, 0]]


def test_ids_of_examples_that_are_gone_can_be_listed():
    # The ids that a list may have are more than those on the disk.
    gone = KnownIds(
        np.append(FILES.ids, 9), FILES.names.join(Names(np.array(["cat/9.png"], object)))
    )
    assert gone.rows(["cat/9.png", "cat/1.png"]).tolist() == [0, 5]


def test_texts_are_the_canonical_ids():
    assert ROWS.texts() == ["3", "10", "11", "40"]
    assert FILES.texts()[4] == "dog/caf\u00e9s.png" == canonical("dog/cafe\u0301s.png")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique_by=canonical))
def test_every_id_is_found_at_its_row(names):
    names = [name for name in names if canonical(name)]
    known = KnownIds(np.arange(len(names)), Names(np.array(names, dtype=object), "id"))
    assert known.rows(names).tolist() == list(range(len(names)))
    assert known.rows(known.texts()).tolist() == list(range(len(names)))


@pytest.mark.parametrize("kind", ["i8", "u2", "f8"])
def test_row_numbers_of_numpy_are_a_list(tmp_path, kind):
    np.save(tmp_path / "rows.npy", np.array([3, 0, 49_999], dtype=kind))
    assert read_list(tmp_path / "rows.npy") == ("3", "0", "49999")


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[1, 2]]),
        np.array([0.5]),
        np.array([np.nan]),
        np.array([], dtype=int),
        np.array([True, False]),
        np.array(["1"]),
        np.array([{}], dtype=object),
    ],
    ids=str,
)
def test_other_arrays_are_no_list(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(DataError, match=r"list of ids .*rows\.npy"):
        read_list(tmp_path / "rows.npy")


def test_a_damaged_file_of_numpy_is_an_error(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(9))
    content = path.read_bytes()
    for bad in (content[:40], content[:-1], content[:-8], content + b"x" * 8):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"list of ids .*rows\.npy"):
            read_list(path)
