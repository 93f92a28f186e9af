"""The folder of a store: the check changes nothing; the preparation removes leftovers, too."""

import pytest

from rum_ray.errors import StoreError
from rum_ray.store import Store
from rum_ray.study.output_folder import check_writable, prepare_store


def test_a_check_changes_nothing_and_the_preparation_removes_leftovers(tmp_path):
    left, kept = tmp_path / "model" / f".x.{'0' * 32}", tmp_path / "model" / "x.safetensors"
    left.parent.mkdir()
    for path in (left, kept):
        path.write_bytes(b"half")
    check_writable(Store(tmp_path))
    assert left.exists()
    prepare_store(Store(tmp_path))
    assert not left.exists()
    assert kept.exists()


def test_a_store_that_is_a_file_is_not_writable(tmp_path):
    (tmp_path / "store").write_text("x")
    for check in (check_writable, prepare_store):
        with pytest.raises(StoreError, match="not a writable folder"):
            check(Store(tmp_path / "store"))


def test_a_store_that_is_absent_or_no_folder_has_no_leftovers(tmp_path):
    prepare_store(Store(tmp_path / "absent"))
    prepare_store(Store("mock://bucket/a"))
    assert not (tmp_path / "absent").exists()
