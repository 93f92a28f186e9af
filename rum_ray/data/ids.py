"""Ids of examples, and lists of ids to forget.

An example has a row number in its source. It may also have a name: the path of its file relative to
the data folder, with `/`, or its value in the Parquet column `data.id`.
"""

import io
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from rum_ray.errors import DataError
from rum_ray.files import read_regular

Rows: TypeAlias = NDArray[np.int64]

MOST_BYTES = 2**28
"""Largest list of ids that is read."""
SHOWN = 10
"""Entries of a list in a message."""


@dataclass(frozen=True, eq=False)
class Names:
    """The names of examples.

    Attributes:
        values: [N] names, each once.
        column: the Parquet column with the names; None for paths of files.
    """

    values: NDArray[np.object_]
    column: str | None = None

    def take(self, rows: ArrayLike) -> "Names":
        """Return the names at `rows`, in that order."""
        return Names(self.values[np.asarray(rows, dtype=np.int64)], self.column)

    def join(self, other: "Names | None") -> "Names | None":
        """Return these names, then the others; None if the others have none."""
        if other is None:
            return None
        return Names(np.concatenate([self.values, other.values]), self.column)


@dataclass(frozen=True, eq=False)
class KnownIds:
    """The ids that a list may have: those of a training set, and of examples that are gone.

    A list names an example by its name or its row number. With names from a column, row numbers
    are not ids, since a number could mean both. Names are equal if they are canonically equivalent
    in Unicode: an accent that is composed in the list may be decomposed in the name of the file.

    Attributes:
        ids: [N] row numbers in the source.
        names: [N] names; None if examples have row numbers only.

    Example:
        >>> names = Names(np.array(["cat/1.png", "cat/2.png", "dog/1.png"], dtype=object))
        >>> known = KnownIds(np.array([0, 1, 2]), names)
        >>> known.rows(["dog/1.png", "0"])
        array([0, 2])
        >>> known.rows(["dog/1.png", "2", "dog/7.png"], "request.txt")
        Traceback (most recent call last):
        rum_ray.errors.DataError: request.txt: 1 of 3 ids are not in the training set of 3 examples:
        entry 2 of the list. 1 example is listed twice: entry 1 = 3 of the list. Ids are paths
        relative to the data folder, such as CLASS/FILE, or row numbers in 0 .. 2.
    """

    ids: Rows
    names: Names | None = None

    def texts(self) -> list[str]:
        """Return the id of each example as text, in the form that is compared and hashed.

        It is the name, or the row number where examples have no names.
        """
        if self.names is None:
            return [str(id) for id in self.ids]
        return [canonical(name) for name in self.names.values]

    def rows(self, entries: Sequence[str], where: str = "the list") -> Rows:
        """Return the sorted positions of listed examples.

        Args:
            entries: names or row numbers.
            where: the file of the list, for messages.

        Raises:
            DataError: an id is unknown, stands for two examples, or is listed twice; the message
                has the places of up to ten of each in the list, and their number. It quotes no id,
                because ids are personal data.
        """
        found = self.find(entries)
        unknown = [place for place, rows in enumerate(found, 1) if not rows]
        listed: dict[int, list[int]] = defaultdict(list)
        for place, rows in enumerate(found, 1):
            for row in rows[:1]:
                listed[row].append(place)
        twice = [" = ".join(map(str, places)) for places in listed.values() if places[1:]]
        alike = [
            place
            for place, rows in enumerate(found, 1)
            if any(row not in listed for row in rows[1:])
        ]
        problems = []
        if unknown:
            problems.append(
                f"{len(unknown):,} of {len(entries):,} ids are not in the training set of "
                f"{len(self.ids):,} examples: {some_entries(unknown)}."
            )
        if twice:
            are = "examples are" if twice[1:] else "example is"
            problems.append(f"{len(twice):,} {are} listed twice: {some_entries(twice)}.")
        if alike:
            problems.append(
                f"{len(alike):,} ids look like another example's, whose accents are encoded "
                f"differently: {some_entries(alike)}. List both or row numbers."
            )
        if problems:
            raise DataError(f"{where}: {' '.join(problems)} {self._allowed()}")
        return np.array(sorted(listed), dtype=np.int64)

    def find(self, entries: Sequence[str]) -> list[list[int]]:
        """Return the positions of each entry: none if it is unknown, two if it looks like two.

        An example whose name equals the entry character by character comes first.
        """
        by_number = {} if self._has_column else {int(id): at for at, id in enumerate(self.ids)}
        by_name: dict[str, list[int]] = defaultdict(list)
        values = () if self.names is None else self.names.values
        for at, name in enumerate(values):
            by_name[canonical(name)].append(at)

        def of(entry: str) -> list[int]:
            rows = by_name.get(canonical(entry), [])
            if not rows and is_row_number(entry):
                rows = [by_number[int(entry)]] if int(entry) in by_number else []
            return sorted(rows, key=lambda row: bool(values[row] != entry)) if rows[1:] else rows

        return [of(entry) for entry in entries]

    @property
    def _has_column(self) -> bool:
        return self.names is not None and self.names.column is not None

    def _allowed(self) -> str:
        """Return the end of a message: the ids that are allowed."""
        ids = self.ids
        numbers = f"row numbers in {ids.min()} .. {ids.max()}" if len(ids) else "row numbers"
        if self.names is None:
            return f"Ids are {numbers} of the source."
        if self.names.column is not None:
            return f"Ids are values of column '{self.names.column}'."
        return f"Ids are paths relative to the data folder, such as CLASS/FILE, or {numbers}."


def some_entries(entries: Sequence[object]) -> str:
    """Return up to ten places in a list of ids, counted from 1, and the number of others."""
    more = f" and {len(entries) - SHOWN:,} more" if len(entries) > SHOWN else ""
    return f"entry {', '.join(map(str, entries[:SHOWN]))}{more} of the list"


def canonical(name: str) -> str:
    r"""Return a name as names are compared: with composed accents, without spaces around it.

    Hashes of names are hashes of this form.

    Example:
        >>> canonical("cafe\u0301/1.png") == "caf\u00e9/1.png"
        True
    """
    return unicodedata.normalize("NFC", name.strip())


def is_row_number(entry: str) -> bool:
    """Return True for a plain integer."""
    return entry.isascii() and entry.isdigit() and len(entry) < 20


def read_list(path: str | Path) -> tuple[str, ...]:
    """Return the entries of a list of ids, one per line, without spaces around them.

    Args:
        path: a text file in UTF-8, or a vector of row numbers as `.npy`; at most 256 MiB.

    Raises:
        DataError: the file is missing, empty, too large, damaged or not UTF-8, or a line is empty.
    """
    path = Path(path).expanduser()
    try:
        content = read_regular(path, MOST_BYTES)
        if content.startswith(npy.MAGIC_PREFIX):
            return _row_numbers(content, path)
        text = content.decode("utf-8-sig")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise DataError(f"the list of ids {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the list of ids {path} is not UTF-8 text: {error.reason}.") from error
    return parse_list(text, str(path))


def _row_numbers(content: bytes, path: Path) -> tuple[str, ...]:
    """Return the row numbers in a `.npy` file as entries; nothing is unpickled."""
    stream = io.BytesIO(content)
    try:
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, _, dtype = readers[npy.read_magic(stream)](stream)
        values = np.frombuffer(stream.read(), dtype)
    except (KeyError, ValueError) as error:
        raise DataError(f"the list of ids {path} is a damaged .npy file: {error}.") from error
    whole = dtype.kind in "iu" or (dtype.kind == "f" and bool(np.all(values == np.rint(values))))
    if shape != values.shape or not len(values) or not whole:
        raise DataError(
            f"the list of ids {path} must be a vector of row numbers; it is {dtype} of shape "
            f"{shape}, with {len(values):,} values."
        )
    return tuple(str(int(value)) for value in values)


def parse_list(text: str, where: str) -> tuple[str, ...]:
    """Return the entries of a list of ids, one per line.

    Args:
        text: the list; the last line may end with a line break.
        where: its file, for messages.

    Raises:
        DataError: there is no line, or a line is empty.
    """
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if not text:
        raise DataError(f"the list of ids {where} is empty. List at least one example to forget.")
    if "" in lines:
        raise DataError(f"{where} line {lines.index('') + 1} is empty: expected an id, got ''.")
    return tuple(lines)
