"""The verb `gc`: the list of all that dead commands left behind, and its removal.

No result depends on these files. Artifacts, cached images and checkpoints of unfinished jobs stay.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rum_ray.errors import StoreError
from rum_ray.files import abandoned_in, is_abandoned
from rum_ray.store import Key, Store
from rum_ray.study.output_folder import OUT_DEPTH, STORE_DEPTH

_SESSION = re.compile(r"session_[\d_-]+_(\d+)")
"""In the temporary folder of a Ray; the number is the process that started it."""
_UNPACKED = re.compile(r"rum-ray-(\d+)-.+")
"""The folder of a file of weights that is read; the number is the process that reads it."""


@dataclass(frozen=True)
class Item:
    """Something that a dead command left.

    Attributes:
        kind: "temporary", "lock", "quarantine", "checkpoint" or "session".
        place: its path.
        bytes: of its files.
        reason: why nobody needs it.
    """

    kind: Literal["temporary", "lock", "quarantine", "checkpoint", "session"]
    place: str
    bytes: int
    reason: str


def collect(root: str, out: Path | None, yes: bool) -> dict[str, Any]:
    """Return the leftovers of dead commands, and remove them if wanted.

    Args:
        root: folder or URI of the store; of one at a URI, nothing is listed.
        out: an output folder, if one is given.
        yes: True removes them.

    Raises:
        StoreError: something cannot be removed.
    """
    store = Store(root)
    found = [*_of_store(store), *_of_temporary(Path(tempfile.gettempdir()))]
    if out is not None:
        found += _temporary(out, OUT_DEPTH)
    for item in found if yes else ():
        _remove(Path(item.place))
    return {"gc": [asdict(item) for item in found], "removed": yes}


def _of_store(store: Store) -> Iterator[Item]:
    """Yield the leftovers in a local store."""
    if store.folder is None:
        return
    yield from _temporary(store.folder, STORE_DEPTH)
    for path in sorted(store.folder.glob("*/*.lock")):
        if is_abandoned(path):
            yield Item("lock", str(path), 0, "no process holds it")
    for path in sorted(store.folder.glob("quarantine/*")):
        yield Item("quarantine", str(path), _bytes(path), "damaged, and moved away")
    kinds = [path.name for path in store.folder.iterdir()] if store.folder.is_dir() else []
    for path in sorted(store.folder.glob("states/[!.]*")):
        job = path.name.partition("-")[0]
        if any(store.has(Key.named(kind, job)) for kind in {*kinds, "pool"}):
            yield Item("checkpoint", str(path), _bytes(path), "its job is finished")


def _temporary(folder: Path, depth: int) -> Iterator[Item]:
    """Yield the temporary files in a folder, in order."""
    for path in sorted(abandoned_in(folder, depth)):
        yield Item("temporary", str(path), _bytes(path), "its writer is dead")


def _of_temporary(folder: Path) -> Iterator[Item]:
    """Yield the folders of this user's dead processes in the temporary folder."""
    sessions = folder.glob(f"rum-ray-{os.getuid()}/r??????/session_[0-9]*")
    places = {path.parent: _SESSION.fullmatch(path.name) for path in sessions}
    places |= {path: _UNPACKED.fullmatch(path.name) for path in folder.glob("rum-ray-*")}
    for path, found in sorted(places.items()):
        with contextlib.suppress(OSError):
            status = path.lstat()
            ours = status.st_uid == os.getuid() and path.is_dir() and not path.is_symlink()
            if found and ours and not _is_alive(int(found[1])):
                yield Item("session", str(path), _bytes(path), f"process {found[1]} is dead")


def _is_alive(process: int) -> bool:
    """Return True if there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _bytes(path: Path) -> int:
    """Return the bytes of a file, or of the files of a folder."""
    total = 0
    for each in [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]:
        with contextlib.suppress(OSError):
            total += each.lstat().st_size
    return total


def _remove(path: Path) -> None:
    """Remove a file or a folder; a link is removed, and not followed."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed: {error.strerror}. Give the same command again."
        ) from error
