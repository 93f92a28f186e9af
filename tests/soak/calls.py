"""Calls of the operating system that fail: any operation on files below a folder, one at a time.

Python announces every such operation to its audit hooks, whichever module makes it, so the code
under test needs no seam. `fsync`, `stat` and `write` are not announced; wrappers here do that.
"""

import contextlib
import io
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {
    "open": 1,
    "os.link": 2,
    "os.rename": 2,
    "os.remove": 1,
    "os.mkdir": 1,
    "os.scandir": 1,
    "os.listdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "soak.fsync": 1,
    "soak.stat": 1,
}
"""Events of an audit hook, with the number of their arguments that are paths."""
CHANGES = ("os.link", "os.rename", "os.mkdir", "soak.fsync", "open for writing")
"""Operations that a full disk makes fail."""
MOST = 2
"""How often the same operation on the same file fails in one start."""


class Calls:
    """Counts the operations below some folders, and lets the first that is not known fail.

    Attributes:
        failed: name of the operation that failed; None before.
    """

    def __init__(
        self,
        folders: tuple[Path, ...],
        known: set[str],
        wanted: Callable[[str, str], bool],
        act: Callable[[str], None],
    ) -> None:
        """Remember what fails.

        Args:
            folders: whose files are meant.
            known: operations that have failed before, and do not fail again.
            wanted: returns True if this operation may fail; it receives the event and the name.
            act: makes the operation fail; it receives its name.
        """
        self._roots = tuple(f"{folder}/" for folder in folders)
        self._known, self._wanted, self._act = known, wanted, act
        self._counts: Counter[str] = Counter()
        self.failed: str | None = None

    def __enter__(self) -> "Calls":
        """Let an operation of this process fail from now on."""
        if not _HEARD:
            # An audit hook cannot be removed.
            sys.addaudithook(lambda *event: _HEARD[-1].hear(*event) if _HEARD else None)
            _announce()
        _HEARD[:] = [self]
        return self

    def __exit__(self, *error: object) -> None:
        _HEARD[:] = [_DEAF]

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count an operation, and let it fail if it is its turn."""
        if self.failed is not None or event not in EVENTS:
            return
        paths = [str(path) for path in arguments[: EVENTS[event]] if isinstance(path, str | Path)]
        if not any(path.startswith(self._roots) for path in paths):
            return
        if event == "open":
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            event += " for writing" if writes else ""
        name = f"{event} {paths[0]}"
        # Temporary files have another name at each start.
        name = re.sub(r"[0-9a-f]{32}(?![0-9a-f])(?<![0-9a-f]{33})", "*", name)
        self._counts[name] += 1
        count = self._counts[name]
        name += f" {count}"
        if count > MOST or name in self._known or not self._wanted(event, name):
            return
        self.failed = name
        self._act(name)


_DEAF = Calls((), set(), lambda event, name: False, lambda name: None)
_HEARD: list[Calls] = []


def _announce() -> None:
    """Announce `fsync` and `stat`, which Python does not."""
    fsync, stat = os.fsync, os.stat

    def announced(number: int) -> None:
        with contextlib.suppress(OSError):
            sys.audit("soak.fsync", str(Path(f"/proc/self/fd/{number}").readlink()))
        fsync(number)

    def looked(path: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str | Path):
            sys.audit("soak.stat", str(path))
        return stat(path, **options)

    os.fsync, os.stat = announced, looked


def fails(number: int, told: Callable[[str], None] = lambda name: None) -> Callable[[str], None]:
    """Return an act: the operation raises this error."""

    def act(name: str) -> None:
        told(name)
        raise OSError(number, os.strerror(number))

    return act


def dies(told: Callable[[str], None]) -> Callable[[str], None]:
    """Return an act: the process is gone before the operation."""

    def act(name: str) -> None:
        told(name)
        os._exit(137)

    return act


def teller(path: Path) -> Callable[[str], None]:
    """Return a function that writes the name of the operation to an open file."""
    file = io.FileIO(path, "w")

    def told(name: str) -> None:
        file.write(name.encode())

    return told
