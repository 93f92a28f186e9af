"""Files: bounded reads of plain files, atomic writes, and locks.

Input is untrusted: a path may name a FIFO, a device or a file of any size. `open_regular` and
`read_regular` refuse these with an `OSError`, which each caller reports as an error of its input.
A writer holds a lock on its temporary file, so a temporary file without a lock has no writer.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from rum_ray.errors import StoreError

POLL_SECONDS = 0.02
CHUNK = 2**16
"""Bytes that are read at once where the size of a file is unknown."""
YOUNG_SECONDS = 60.0
"""An empty temporary file of this age may be one whose writer has no lock yet."""

PRIVATE = 0o600
"""Permissions of a file that only its owner may read."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def regular_status(path: str | Path, most_bytes: int | None = None) -> os.stat_result:
    """Return the status of a plain file; nothing is opened.

    Args:
        path: of the file, or of a link to it.
        most_bytes: largest size; None for any.

    Raises:
        OSError: there is no such file, it is not a plain file, or it is too large.
    """
    try:
        status = Path(path).stat()
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    _check(status, path, most_bytes)
    return status


def _check(status: os.stat_result, path: str | Path, most_bytes: int | None) -> None:
    """Raise OSError unless a status is that of a plain file of bounded size."""
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special")
        raise OSError(errno.EINVAL, f"it is {kind}, not a plain file", str(path))
    if most_bytes is not None and status.st_size > most_bytes:
        raise _too_large(path, most_bytes)


def _too_large(path: str | Path, most_bytes: int) -> OSError:
    """Return the error for a file of more bytes than are read."""
    return OSError(errno.EFBIG, f"it is larger than {most_bytes / 2**20:,.0f} MiB", str(path))


def open_regular(path: str | Path, most_bytes: int | None = None) -> BufferedReader:
    """Open a plain file for reading; a FIFO or a device is not waited for.

    Args:
        path: of the file, or of a link to it.
        most_bytes: largest size; None for any.

    Raises:
        OSError: the file cannot be opened, is not a plain file, or is too large.
    """
    regular_status(path, most_bytes)
    # Another process may replace the file meanwhile, so the open file is checked, too.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(number), path, most_bytes)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a plain file of bounded size.

    Args:
        path: of the file, or of a link to it.
        most_bytes: largest size.

    Raises:
        OSError: the file cannot be read, is not a plain file, or is too large.
    """
    with open_regular(path, most_bytes) as file:
        # A read allocates what it asks for, and the status of files in /proc has the size 0.
        size = max(os.fstat(file.fileno()).st_size + 1, CHUNK)
        parts, left = [], most_bytes + 1
        while left and (part := file.read(min(left, size))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise _too_large(path, most_bytes)
    return b"".join(parts)


def write_once(path: Path, content: bytes, mode: int = 0o666) -> bool:
    """Create a file atomically and durably; return False, without a change, if it exists.

    Args:
        path: of the file; missing folders are created.
        content: of the file.
        mode: permissions of the file, less the umask.
    """
    with _written(path, content, mode) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically and durably; an existing file is replaced.

    Args:
        path: of the file; missing folders are created.
        content: of the file.
        mode: permissions of the file, less the umask.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        with _written(path, content, mode) as temporary:
            temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free space, then try again."
        ) from error


@contextlib.contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Yield a complete temporary file beside a path; remove it in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, opened = temporary_in(path.parent, path.name, mode)
    try:
        with opened as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            yield temporary
    finally:
        _unlink(temporary)


def temporary_in(folder: Path, name: str, mode: int = 0o666) -> tuple[Path, IO[bytes]]:
    """Create a temporary file, which is locked as long as it is open.

    Args:
        folder: an existing folder.
        name: of the file that it becomes, or of its purpose.
        mode: permissions of the file, less the umask.
    """
    path = folder / f".{name}.{uuid.uuid4().hex}"
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    # On a file system without locks, nobody can tell whose writer is dead. A process that looks for
    # dead writers may hold the lock for a moment.
    with contextlib.suppress(OSError):
        fcntl.flock(number, fcntl.LOCK_EX)
    return path, os.fdopen(number, "wb")


def abandoned_in(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the temporary files of dead writers in a folder.

    Args:
        folder: of the files; there need not be one.
        depth: of the folders in it that are searched, too; links are not followed.
    """
    found, inner = [], []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found += [entry] if _TEMPORARY.fullmatch(entry.name) else []
            inner += [entry] if depth and entry.is_dir(follow_symlinks=False) else []
    yield from (Path(entry.path) for entry in found if is_abandoned(Path(entry.path)))
    for entry in inner:
        yield from abandoned_in(Path(entry.path), depth - 1)


def remove_abandoned(folder: Path, depth: int) -> None:
    """Remove the temporary files of dead writers in a folder; see `abandoned_in`."""
    for path in abandoned_in(folder, depth):
        with contextlib.suppress(OSError):
            path.unlink()


def is_abandoned(path: Path) -> bool:
    """Return True for a file that no live process has locked.

    An empty file may be new, and not locked yet, so it counts after a minute only.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(number)
    except OSError:
        # Its owner lives, or the file system has no locks.
        return False
    finally:
        os.close(number)
    return stat.S_ISREG(status.st_mode) and (
        status.st_size > 0 or not 0 <= time.time() - status.st_mtime <= YOUNG_SECONDS
    )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock within a `with` block; wait while another process holds it.

    The OS releases the lock of a dead process. The lock file is removed on release; the file of a
    dead process stays until the next release. Where the file system has no locks, or the lock file
    cannot be created, no process waits.
    """
    # Reading files needs no locks, so a machine without this package can read.
    from filelock import FileLock

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # A soft lock would outlive a dead process, so it is no fallback.
            lock = FileLock(path, poll_interval=POLL_SECONDS, fallback_to_soft=False)
            stack.enter_context(lock)
            stack.callback(_unlink, path)
        yield


def _unlink(path: Path) -> None:
    """Remove a file, if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Let files and folders that this process makes within a `with` block be its user's alone.

    Processes that are started within the block inherit that. The umask is one per process.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
