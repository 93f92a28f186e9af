"""Publishing under kills and full disks: a request is published whole or not at all."""

import errno
import os
import sys
from pathlib import Path

import pytest

from rum_ray.deletion.ledger import LEDGER, Entry, Ledger
from rum_ray.deletion.publish import MANIFEST, MODEL, folder_of, publish, settle, sha256
from rum_ray.errors import IntegrityError, RumRayError, StoreError

EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
_hook: list = []


def _audit(event: str, arguments: tuple) -> None:
    if _hook and event in EVENTS:
        _hook[0](event, arguments)


sys.addaudithook(_audit)


def request(ledger: Ledger, salt: str = "") -> tuple[Entry, dict[str, bytes]]:
    number = len(ledger.entries) + 1
    files = {MODEL: b"weights" * 1000, "evidence.json": b"{}", MANIFEST: f"{number}{salt}".encode()}
    entry = Entry(
        request=number,
        time="2026-01-01T00:00:00+00:00",
        manifest=sha256(files[MANIFEST]),
        before=ledger.model,
        model=f"m{number}",
        ids=(f"id{number}",),
        cost=0.2,
        test_accuracy_before=0.9,
        test_accuracy=0.9,
    )
    return entry, files


def published(out: Path, count: int) -> Ledger:
    ledger = Ledger("m0", "00")
    for _ in range(count):
        entry, files = request(ledger)
        publish(out, ledger, entry, files)
        ledger = ledger.add(entry)
    return ledger


def state(out: Path) -> tuple[int, list[str]]:
    """The number of requests in the ledger, and the names beside them."""
    ledger = Ledger.read(out)
    root = out / "deletions"
    names = sorted(p.name for p in root.iterdir()) if root.exists() else []
    return len(ledger.entries) if ledger else 0, names


def events(out: Path, before: int) -> int:
    """The number of file operations of a publication."""
    counts = []
    # The first publication of a process also opens files of Python's modules.
    for name in ("first", "second"):
        (out / name).mkdir(parents=True)
        ledger, seen = published(out / name, before), []
        _hook[:] = [lambda event, arguments, seen=seen: seen.append(event)]
        publish(out / name, ledger, *request(ledger))
        _hook.clear()
        counts.append(len(seen))
    return counts[1]


def in_child(act) -> int:
    """Run in a child process, and return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except StoreError:
            code = 6
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_event(number: int, act) -> None:
    """Call a function at the n-th file operation."""
    count = [0]

    def hook(event, arguments):
        count[0] += 1
        if count[0] == number:
            act()

    _hook[:] = [hook]


@pytest.mark.parametrize("before", [0, 2])
def test_a_kill_at_every_file_operation(tmp_path, before):
    total = events(tmp_path / "count", before)
    assert total > 10
    outcomes = set()
    for number in range(1, total + 1):
        out = tmp_path / f"kill{number}"
        out.mkdir()
        ledger = published(out, before)

        def killed(number=number, ledger=ledger, out=out):
            at_event(number, lambda: os._exit(9))
            publish(out, ledger, *request(ledger))

        assert in_child(killed) == 9
        settled = settle(out)
        count, names = state(out)
        outcomes.add(count)
        assert names == [f"{n:04d}" for n in range(1, count + 1)]
        assert settled == (Ledger.read(out))
        # The same command again leads to the same end.
        if count == before:
            publish(out, ledger, *request(ledger))
        assert state(out) == (before + 1, [f"{n:04d}" for n in range(1, before + 2)])
        assert not [p for p in out.rglob(".*") if p.parent.name.startswith("0")]
    assert outcomes == {before, before + 1}


@pytest.mark.parametrize("before", [0, 2])
def test_a_full_disk_at_every_file_operation(tmp_path, before):
    total = events(tmp_path / "count", before)
    refused = 0
    for number in range(1, total + 1):
        out = tmp_path / f"full{number}"
        out.mkdir()
        ledger = published(out, before)

        def full(number=number, ledger=ledger, out=out):
            def fail():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            at_event(number, fail)
            publish(out, ledger, *request(ledger))

        code = in_child(full)
        assert code in (0, 6)
        count = len(settle(out).entries) if before or (out / LEDGER).exists() else 0
        assert state(out)[1] == [f"{n:04d}" for n in range(1, count + 1)]
        assert count == before + 1 or code == 6
        refused += code == 6 and count == before
    assert refused > 5


def test_files_are_private_and_whole(tmp_path):
    ledger = Ledger("m0", "00")
    entry, files = request(ledger)
    folder = publish(tmp_path, ledger, entry, files)
    assert folder == folder_of(tmp_path, 1)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files
    assert {p.stat().st_mode & 0o777 for p in [*folder.iterdir(), tmp_path / LEDGER]} == {0o600}


def test_a_ledger_without_its_last_lines_is_refused(tmp_path):
    published(tmp_path, 3)
    lines = (tmp_path / LEDGER).read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        (tmp_path / LEDGER).write_bytes(b"".join(lines[:kept]))
        with pytest.raises(IntegrityError, match=r"was cut.*Restore it from a backup"):
            settle(tmp_path)
    (tmp_path / LEDGER).unlink()
    with pytest.raises(IntegrityError, match="was cut: it has 0 requests"):
        settle(tmp_path)
    (tmp_path / LEDGER).write_bytes(b"".join(lines))
    assert len(settle(tmp_path).entries) == 3


def test_a_folder_that_is_not_the_last_one_may_be_gone(tmp_path):
    published(tmp_path, 2)
    for path in folder_of(tmp_path, 1).iterdir():
        path.unlink()
    folder_of(tmp_path, 1).rmdir()
    assert len(settle(tmp_path).entries) == 2


@pytest.mark.parametrize("act", ["edit", "remove"])
def test_the_last_folder_must_be_that_of_the_ledger(tmp_path, act):
    published(tmp_path, 2)
    path = folder_of(tmp_path, 2) / MANIFEST
    path.unlink() if act == "remove" else path.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="Restore the folder"):
        settle(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "deletions").write_text("in the way")
    ledger = Ledger("m0", "00")
    with pytest.raises(RumRayError) as caught:
        publish(tmp_path, ledger, *request(ledger))
    assert caught.value.exit_code == 6
    assert not (tmp_path / LEDGER).exists()


def test_what_others_left_in_the_folder_stays(tmp_path):
    published(tmp_path, 1)
    (tmp_path / "deletions" / "notes.txt").write_text("mine")
    assert len(settle(tmp_path).entries) == 1
    assert (tmp_path / "deletions" / "notes.txt").exists()
