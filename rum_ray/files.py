"""Atomic file writes and file locks."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from rum_ray.errors import StoreError

POLL_SECONDS = 0.02


PRIVATE = 0o600
"""Permissions of a file that only its owner may read."""


def write_once(path: Path, content: bytes, mode: int = 0o666) -> bool:
    """Create a file atomically and durably; return False, without a change, if it exists.

    Args:
        path: of the file; missing folders are created.
        content: of the file.
        mode: permissions of the file, less the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(number, "wb") as file:  # noqa: PTH123 - an open file, not a path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock within a `with` block; wait while another process holds it.

    The OS releases the lock of a dead process. The lock file is removed on release; the file of a
    dead process stays until the next release. Where the file system has no locks, or the lock file
    cannot be created, no process waits.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # A soft lock would outlive a dead process, so it is no fallback.
            lock = FileLock(path, poll_interval=POLL_SECONDS, fallback_to_soft=False)
            stack.enter_context(lock)
            stack.callback(path.unlink, missing_ok=True)
        yield


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file atomically; an existing file is replaced.

    Args:
        path: of the file; missing folders are created.
        content: of the file.
        mode: permissions of the file, less the umask.

    Raises:
        StoreError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_once(temporary, content, mode)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free space, then try again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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
