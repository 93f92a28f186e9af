"""Files: only plain ones of bounded size are read, and what a dead writer left is removed."""

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from rum_ray import files
from rum_ray.files import (
    abandoned_in,
    open_regular,
    read_regular,
    regular_status,
    remove_abandoned,
    temporary_in,
    write_bytes,
    write_once,
)


def make(path: Path, kind: str) -> Path:
    """Make something that is no plain file, and return its path."""
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind == "link to a FIFO":
        os.mkfifo(path.with_name("fifo"))
        path.symlink_to(path.with_name("fifo"))
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(kind)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("FIFO", "folder", "socket", "link to a FIFO", "dangling link", "loop"),
        *("/dev/zero", "/dev/null", "/dev/random", "/dev/tty", "missing"),
    ],
)
@pytest.mark.parametrize("read", [regular_status, open_regular, read_regular])
def test_what_is_no_plain_file_is_an_error_at_once(tmp_path, monkeypatch, kind, read):
    monkeypatch.chdir(tmp_path)
    path = make(Path("x"), kind)
    with pytest.raises(OSError, match="x") as caught:
        read(path, 10)
    assert caught.value.strerror


@pytest.mark.parametrize("size", [0, 9, 10, 11])
def test_the_size_is_bounded(tmp_path, size):
    path = tmp_path / "x"
    path.write_bytes(b"y" * size)
    if size <= 10:
        assert read_regular(path, 10) == b"y" * size
        with open_regular(path, 10) as file:
            assert len(file.read()) == size
    else:
        for read in (regular_status, open_regular, read_regular):
            with pytest.raises(OSError, match="larger than 0 MiB"):
                read(path, 10)
    assert read_regular(path, 11) == b"y" * size
    with open_regular(path) as file:
        assert len(file.read()) == size


def test_a_large_bound_takes_no_memory(tmp_path):
    (tmp_path / "x").write_bytes(b"y" * 200_000)
    assert read_regular(tmp_path / "x", 2**60) == b"y" * 200_000


def test_a_size_that_the_status_does_not_tell_is_bounded():
    assert read_regular("/proc/self/status", 10**6).startswith(b"Name")
    with pytest.raises(OSError, match="larger"):
        read_regular("/proc/self/status", 10)


def test_a_file_that_becomes_a_fifo_does_not_hang(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"y")

    def checked(path: Path, most: int | None) -> os.stat_result:
        status = path.stat()
        path.unlink()
        os.mkfifo(path)
        return status

    monkeypatch.setattr(files, "regular_status", checked)
    with pytest.raises(OSError, match="FIFO"):
        open_regular(path, 10)


def test_a_name_that_no_file_can_have_is_an_oserror():
    with pytest.raises(OSError, match="null"):
        read_regular("a\0b", 10)


@pytest.mark.parametrize("write", [write_once, write_bytes])
def test_a_writer_leaves_no_temporary_file(tmp_path, write):
    path = tmp_path / "new" / "x"
    write(path, b"1")
    write(path, b"2")
    assert path.read_bytes() == (b"1" if write is write_once else b"2")
    assert [file.name for file in path.parent.iterdir()] == ["x"]


def test_the_files_of_dead_writers_are_told_from_those_of_live_ones(tmp_path):
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    for folder in (tmp_path, *list(inner.parents)[:2], inner):
        for alive in (True, False):
            path, file = temporary_in(folder, "alive" if alive else "dead")
            file.write(b"half")
            file.flush()
            if alive:
                _keep.append(file)
            else:
                file.close()
            assert path.stat().st_size == 4
    foreign = tmp_path / f".mine.{'0' * 31}"
    foreign.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / f".x.{'0' * 32}").symlink_to(foreign)
    dead = [*abandoned_in(tmp_path, 2)]
    assert sorted(str(path.parent.relative_to(tmp_path)) for path in dead) == [".", "a", "a/b"]
    assert all(path.name.startswith(".dead.") for path in dead)
    remove_abandoned(tmp_path, 9)
    assert [*abandoned_in(tmp_path, 9)] == []
    assert len([*tmp_path.rglob(".alive.*")]) == 4
    assert foreign.exists()
    while _keep:
        _keep.pop().close()
    assert len([*abandoned_in(tmp_path, 9)]) == 4
    assert [*abandoned_in(tmp_path / "nowhere", 9)] == []


_keep: list = []


def test_an_empty_file_may_be_that_of_a_writer_who_has_no_lock_yet(tmp_path):
    path, file = temporary_in(tmp_path, "x")
    file.close()
    assert not files.is_abandoned(path)
    os.utime(path, (0, 0))
    assert files.is_abandoned(path)


def test_a_writer_waits_for_the_lock_of_one_who_looks_for_dead_writers(tmp_path, monkeypatch):
    looking, opened = [], os.open

    def looked_at(path, *more):
        number = opened(path, *more)
        looking.append(opened(path, os.O_RDWR))
        fcntl.flock(looking[0], fcntl.LOCK_EX)
        threading.Timer(0.1, os.close, looking).start()
        return number

    monkeypatch.setattr(files.os, "open", looked_at)
    path, file = temporary_in(tmp_path, "x")
    monkeypatch.undo()
    with file:
        file.write(b"half")
        file.flush()
        assert not files.is_abandoned(path)
    assert files.is_abandoned(path)
