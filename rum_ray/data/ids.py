"""Lists of ids to forget in text files: one row number of the source per line."""

from pathlib import Path

import numpy as np

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError


def read_ids(path: str | Path) -> dict[int, int]:
    """Return the ids in a file, each with its line number.

    Args:
        path: a text file with one plain integer per line.

    Raises:
        DataError: the file is missing or empty, a line is not an integer, or an id is repeated.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"the list of ids {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the list of ids {path} is not UTF-8 text: {error.reason}.") from error
    if not lines:
        raise DataError(f"the list of ids {path} is empty. List at least one example to forget.")
    seen: dict[int, int] = {}
    for line, text in enumerate(lines, start=1):
        text = text.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise DataError(f"{path} line {line}: expected a plain integer, got {text[:40]!r}.")
        number = int(text)
        if number in seen:
            raise DataError(f"{path}: id {number} is on lines {seen[number]} and {line}.")
        seen[number] = line
    return seen


def read_rows(path: str | Path, ids: Indices) -> Indices:
    """Return the sorted rows of the ids in a file.

    Args:
        path: as for `read_ids`.
        ids: [N] ids of the training set, such as `LabeledData.ids`.

    Raises:
        DataError: as for `read_ids`, or an id is not in the training set.
    """
    row_of = {int(number): row for row, number in enumerate(ids)}
    listed = read_ids(path)
    for number, line in listed.items():
        if number not in row_of:
            raise DataError(
                f"{path} line {line}: id {number} is not in the training set of {len(ids)} ids "
                f"in {int(ids.min())} .. {int(ids.max())}. Ids are row numbers of the source."
            )
    return np.sort(np.array([row_of[number] for number in listed], dtype=np.int64))
