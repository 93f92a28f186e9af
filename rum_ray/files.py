"""Files that are whole or not there, and locks."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from rum_ray.errors import StoreError


def write_once(path: Path, content: bytes) -> bool:
    """Create a file whole and durably; return False, changing nothing, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
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
    """Hold a lock for the length of a `with` block, after whoever has it now.

    The system takes it from a process that dies; the empty file stays until the next one has it.
    Where the file system has no locks, or the file cannot be made, nobody waits.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            links = 0
            while not links:  # else whoever had the lock has removed its file
                file = stack.enter_context(path.open("ab"))
                fcntl.flock(file, fcntl.LOCK_EX)
                links = os.fstat(file.fileno()).st_nlink
            stack.callback(path.unlink, missing_ok=True)
        yield


def write_bytes(path: Path, content: bytes) -> None:
    """Put a file in place whole, over one that may be there.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_once(temporary, content)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}. Free space, then again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
