"""Lists of ids in text files: what to forget, one row number of the source a line."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError


def read_rows(
    path: str | Path, ids: Indices, never_learned: Collection[int] = ()
) -> tuple[Indices, int]:
    """Return the rows whose ids a file lists, sorted, and how many ids were never learned.

    Args:
        path: a text file with one plain integer a line.
        ids: [N] of the training set, such as `LabeledData.ids`.
        never_learned: ids that were set aside for validation: nothing of them can be forgotten.

    Raises:
        DataError: the file is missing or empty; a line is no integer, is there twice, or names an
            example that is not in the training set.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of ids {path} cannot be read: {error}.") from error
    if not lines:
        raise DataError(f"the list of ids {path} is empty; name at least one example to forget.")
    row_of = {int(number): row for row, number in enumerate(ids)}
    seen: dict[int, int] = {}
    for line, text in enumerate(lines, start=1):
        text = text.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise DataError(f"{path} line {line}: expected a plain integer, got {text[:40]!r}.")
        number = int(text)
        if number in seen:
            raise DataError(f"{path}: id {number} is on lines {seen[number]} and {line}.")
        if number not in row_of and number not in never_learned:
            raise DataError(
                f"{path} line {line}: id {number} is not in the training set, whose {len(ids)} ids "
                f"lie in {int(ids.min())} .. {int(ids.max())}. Ids are row numbers of the source."
            )
        seen[number] = line
    learned = [row_of[number] for number in seen if number in row_of]
    if not learned:
        raise DataError(f"none of the ids in {path} was learned; there is nothing to forget.")
    return np.sort(np.array(learned, dtype=np.int64)), len(seen) - len(learned)
