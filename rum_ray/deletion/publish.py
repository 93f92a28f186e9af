"""Publishing: a folder of a request appears whole, together with its line in the ledger.

The steps, in this order:

1. All files are written to `deletions/.0001` and flushed to the disk.
2. The new ledger replaces the old one. **This rename is the commit.**
3. `deletions/.0001` becomes `deletions/0001`.

A death before step 2 leaves a hidden folder, which the next command removes. A death after it
leaves a line without its folder, and `settle` takes step 3. A folder without its line never comes
from here: the ledger was cut.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rum_ray.deletion.ledger import LEDGER, MOST_BYTES, RESTORE, Entry, Ledger
from rum_ray.errors import IntegrityError, StoreError
from rum_ray.files import PRIVATE, read_regular, write_bytes, write_once

MANIFEST = "manifest.json"
MODEL = "model.safetensors"


def folder_of(out: Path, request: int) -> Path:
    """Return the folder of a published request."""
    return out / "deletions" / f"{request:04d}"


def _stage_of(out: Path, request: int) -> Path:
    """Return the folder in which the files of a request are written."""
    return out / "deletions" / f".{request:04d}"


def sha256(content: bytes) -> str:
    """Return the SHA-256 of the content of a file."""
    return hashlib.sha256(content).hexdigest()


def publish(out: Path, ledger: Ledger, entry: Entry, files: Mapping[str, bytes]) -> Path:
    """Publish a request, and return its folder; the caller holds the lock of `out`.

    Args:
        out: the output folder.
        ledger: the requests so far.
        entry: this request.
        files: contents by name, manifest.json included.

    Raises:
        StoreError: a file cannot be written; then nothing is published.
    """
    stage, folder = _stage_of(out, entry.request), folder_of(out, entry.request)
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        for name, content in files.items():
            write_once(stage / name, content, PRIVATE)
        _flush(stage)
        _flush(stage.parent)
        write_bytes(out / LEDGER, ledger.add(entry).content(), PRIVATE)
    except (OSError, StoreError) as error:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            stage.parent.rmdir()
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"cannot publish in {out}: {reason}. Nothing is published. Free space, then give the "
            "same command again."
        ) from error
    settle(out)
    return folder


def settle(out: Path) -> Ledger | None:
    """Finish or undo a publication that was interrupted, and return the ledger.

    The caller holds the lock of `out`.

    Raises:
        IntegrityError: the ledger was cut or edited, or a published folder is missing.
        StoreError: a file cannot be read or moved.
    """
    ledger = Ledger.read(out)
    count = len(ledger.entries) if ledger else 0
    root = out / "deletions"
    try:
        names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        last = _stage_of(out, count)
        if ledger and count and last.name in names and not folder_of(out, count).exists():
            _check_manifest(last, ledger.entries[-1])
            last.rename(folder_of(out, count))
        for name in names:
            if name.startswith(".") and name[1:].isdecimal() and (root / name).exists():
                shutil.rmtree(root / name)
        if root.is_dir():
            _flush(root)
        _flush(out)
    except OSError as error:
        raise StoreError(f"{root} cannot be put in order: {error.strerror}.") from error
    check_folders(out, ledger)
    return ledger


def check_folders(out: Path, ledger: Ledger | None) -> None:
    """Raise IntegrityError if a published folder has no line, or the last line no folder."""
    root, count = out / "deletions", len(ledger.entries) if ledger else 0
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    numbers = sorted(int(name) for name in names if name.isdecimal())
    if numbers and numbers[-1] > count:
        raise IntegrityError(
            f"the ledger {out / LEDGER} was cut: it has {count} requests, and {root} has request "
            f"{numbers[-1]}. {RESTORE}"
        )
    if ledger and count:
        _check_manifest(folder_of(out, count), ledger.entries[-1])


def _check_manifest(folder: Path, entry: Entry) -> None:
    """Raise IntegrityError unless a folder has the manifest that the ledger names."""
    path = folder / MANIFEST
    try:
        found = sha256(read_regular(path, MOST_BYTES))
    except FileNotFoundError:
        found = "none"
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    if found != entry.manifest:
        raise IntegrityError(
            f"{path} is {'missing' if found == 'none' else 'not the one of the ledger'}; request "
            f"{entry.request} is the last published one, and the next request starts from its "
            "model. Restore the folder from a backup."
        )


def _flush(folder: Path) -> None:
    """Make the names in a folder durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
