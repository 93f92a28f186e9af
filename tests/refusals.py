"""A table of bad inputs: each is refused with its class of error, exit code and place."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rum_ray import errors

UsageError = errors.RumRayError
"""In a row: the parser of the command line refuses the flags."""
CODES = {
    UsageError: 2,
    errors.ConfigError: 2,
    errors.PlanError: 2,
    errors.DataError: 3,
    errors.ScoreError: 3,
    errors.BusyError: 4,
    errors.StoreError: 6,
    errors.IntegrityError: 7,
    errors.UnsafeError: 8,
}
File = str | bytes | Callable[[Path], object]
"""A text, bytes, or a function that makes the file at a path."""


@dataclass(frozen=True)
class Row:
    """A bad input.

    Attributes:
        name: of the mistake.
        error: class of the error; it decides the exit code.
        place: the key, file or flag that the message names.
        arguments: of the command line.
        said: further parts of the message, such as the given value or the remedy.
        files: content by path, written before the command.
    """

    name: str
    error: type[errors.RumRayError]
    place: str
    arguments: tuple[str, ...]
    said: tuple[str, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)


def table(*rows: Row) -> pytest.MarkDecorator:
    """Return the decorator that runs a test for each row, with the name of its mistake."""
    names = [row.name for row in rows]
    assert len({*names}) == len(names), {name for name in names if names.count(name) > 1}
    return pytest.mark.parametrize("row", rows, ids=names)


def sets(*settings: str) -> tuple[str, ...]:
    """Return settings as arguments of the command line."""
    return tuple(part for setting in settings for part in ("--set", setting))


def write(folder: Path, files: Mapping[str, File]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def listing(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return kind and content of everything in a folder; links and devices are not opened."""
    found = {}
    for path in folder.rglob("*"):
        plain = path.is_file() and not path.is_symlink()
        found[str(path)] = (path.lstat().st_mode, path.read_bytes() if plain else b"")
    return found


@dataclass(frozen=True)
class Refuse:
    """The command line in this process, and the error with which it ended.

    Attributes:
        folder: working folder.
        run: runs the command line; returns exit code, standard output and standard error.
        raised: receives the errors at the exit.
    """

    folder: Path
    run: Callable[..., tuple[int, str, str]]
    raised: list[BaseException | None]

    def __call__(self, row: Row) -> None:
        """Check that a row is refused in one line, and that nothing is written."""
        write(self.folder, row.files)
        before = listing(self.folder)
        code, out, err = self.run(*row.arguments)
        usage = [error for error in self.raised if hasattr(error, "format_message")]
        kind = UsageError if usage else type(self.raised[-1])
        assert (kind, code, out) == (row.error, CODES[row.error], ""), err
        assert err.count("\n") == 1, err
        assert err.startswith("rum-ray: "), err
        assert re.search(rf"(?<![\w.]){re.escape(row.place)}(?![\w])", err), (row.place, err)
        assert all(part in err for part in row.said), (row.said, err)
        assert listing(self.folder) == before


def raised_into(raised: list[BaseException | None]) -> Callable[[int], None]:
    """Return a function in place of `os._exit` that keeps the error that is handled."""

    def leave(code: int) -> None:
        raised.append(sys.exception())
        raise SystemExit(code)

    return leave
