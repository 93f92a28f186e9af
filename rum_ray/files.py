"""Files that are whole or not there."""

import contextlib
import os
import uuid
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
