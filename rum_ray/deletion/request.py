"""A request: the listed ids, the rows they name, and D without all that was ever forgotten."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, Indices, LabeledData
from rum_ray.data.ids import MOST_BYTES, canonical, is_row_number, some_entries
from rum_ray.deletion.ledger import Ledger
from rum_ray.errors import DataError, PlanError
from rum_ray.files import read_regular


@dataclass(frozen=True, eq=False)
class Listed:
    """The list of ids as it was given.

    Attributes:
        names: the ids, one per line.
        content: the bytes of the list.
        place: its path, for messages.
    """

    names: tuple[str, ...]
    content: bytes
    place: str


@dataclass(frozen=True, eq=False)
class Request:
    """The rows to forget.

    Attributes:
        listed: the list of ids.
        bundle: the data; D lacks all rows that were forgotten before.
        rows: rows of D to forget.
        hashes: salted hashes of the ids of D's rows.
        already: listed ids that were forgotten before.
        past: rows that were forgotten before, as far as their data are there.
        kept: places of D's rows in the data that are there, in which `past` is left out.
    """

    listed: Listed
    bundle: DataBundle
    rows: Indices
    hashes: tuple[str, ...]
    already: tuple[str, ...]
    past: LabeledData
    kept: Indices

    @property
    def ids(self) -> tuple[str, ...]:
        """The salted hashes of the ids to forget, in the order of the rows."""
        return tuple(self.hashes[row] for row in self.rows)

    @property
    def classes(self) -> dict[str, int]:
        """The number of rows to forget by class."""
        labels = Counter(self.bundle.train.y[self.rows].tolist())
        names = self.bundle.class_names or tuple(map(str, range(self.bundle.num_classes)))
        return {names[label]: labels[label] for label in sorted(labels)}

    @property
    def whole_classes(self) -> tuple[str, ...]:
        """The classes of which no row remains."""
        kept = self.bundle.train.without(self.rows).y.tolist()
        names = self.bundle.class_names or tuple(map(str, range(self.bundle.num_classes)))
        gone = sorted({*self.bundle.train.y[self.rows].tolist()} - {*kept})
        return tuple(names[label] for label in gone)


def read_list(path: str) -> Listed:
    """Return the list of ids in a file, or on standard input for "-".

    Raises:
        DataError: the list cannot be read, is empty, or is no UTF-8 text.
    """
    place = "standard input" if path == "-" else path
    try:
        content = (
            sys.stdin.buffer.read(MOST_BYTES + 1)
            if path == "-"
            else read_regular(Path(path).expanduser(), MOST_BYTES)
        )
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"--forget: {place} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"--forget: {place} is not UTF-8 text: {error.reason}.") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"--forget: {place} has more than {MOST_BYTES >> 20} MiB.")
    names = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not names:
        raise DataError(f"--forget: {place} is empty. List at least one id, one per line.")
    return Listed(names, content, place)


def open_request(listed: Listed, bundle: DataBundle, ledger: Ledger) -> Request:
    """Resolve a list of ids on the data.

    Args:
        listed: the list.
        bundle: all data that are there; listed rows of V are in D already.
        ledger: the requests so far.

    Raises:
        DataError: an id is unknown, or is listed twice; one message has all of them. Or an id is
            the row number of a file, or stands for two files.
        PlanError: no row would remain.
    """
    train = bundle.train
    names = train.known_ids.texts()
    places = train.known_ids.find(listed.names)
    rows = [each[0] if each else None for each in places]
    given = zip(listed.names, rows, strict=True)
    found = [canonical(name) if row is None else names[row] for name, row in given]
    already = [name for name in found if ledger.hashed(name) in ledger.forgotten]
    unknown = [
        entry
        for entry, (name, row) in enumerate(zip(found, rows, strict=True), 1)
        if row is None and ledger.hashed(name) not in ledger.forgotten
    ]
    alike = [entry for entry, each in enumerate(places, 1) if each[1:]]
    _check(listed, found, unknown, alike, train)
    hashes = np.array(ledger.hashes(names), dtype=object)
    gone = np.array([each in ledger.forgotten for each in hashes], dtype=bool)
    wanted = np.zeros(len(train), dtype=bool)
    wanted[[row for row in rows if row is not None]] = True
    wanted &= ~gone
    kept = np.flatnonzero(~gone)
    if len(kept) == int(wanted.sum()):
        raise PlanError(
            f"--forget: {listed.place} lists all {len(kept)} rows of the training set that were "
            "not forgotten before, so no row would remain. Train a new model instead."
        )
    return Request(
        listed,
        remaining(bundle, kept),
        np.flatnonzero(wanted[kept]),
        tuple(hashes[kept].tolist()),
        tuple(already),
        train.take(np.flatnonzero(gone)),
        kept,
    )


def _check(
    listed: Listed,
    found: Sequence[str],
    unknown: Sequence[int],
    alike: Sequence[int],
    train: LabeledData,
) -> None:
    """Raise DataError if ids are unknown, listed twice, or may mean another row.

    The message counts entries of the list, because ids are personal data.
    """
    counted = Counter(found)
    twice = [entry for entry, name in enumerate(found, 1) if counted[name] > 1]
    if unknown or twice:
        raise DataError(f"--forget: {listed.place}: {_problems(unknown, twice, len(found))}")
    if alike:
        raise DataError(
            f"--forget: {listed.place}: {len(alike)} ids stand for two files each, whose names "
            f"differ in the encoding of accents only: {some_entries(alike)}. Rename one of them."
        )
    numbers = {entry: n for entry, n in enumerate(listed.names, 1) if is_row_number(n)}
    if numbers and train.names is not None and train.names.column is None:
        known = {*train.known_ids.texts()}
        moving = [entry for entry, name in numbers.items() if canonical(name) not in known]
        if moving:
            raise DataError(
                f"--forget: {listed.place}: {len(moving)} ids are row numbers: "
                f"{some_entries(moving)}. They change where files are removed, so a request lists "
                "paths relative to the data folder."
            )


def remaining(bundle: DataBundle, kept: NDArray[np.int64]) -> DataBundle:
    """Return the data with these rows of D only; with all of them, the data are not copied."""
    if len(kept) == len(bundle.train):
        return bundle
    truth = bundle.true_labels
    return dataclasses.replace(
        bundle,
        train=bundle.train.take(kept),
        true_labels=None if truth is None else truth[kept],
    )


def _problems(unknown: Sequence[int], twice: Sequence[int], total: int) -> str:
    """Return the message for ids that are unknown or listed twice."""
    parts = []
    if unknown:
        parts.append(
            f"{len(unknown)} of {total} ids are neither in the training set nor forgotten before: "
            f"{some_entries(unknown)}. Correct them; the data of a row must be there for its "
            "request."
        )
    if twice:
        parts.append(
            f"{len(twice)} entries list a row twice: {some_entries(twice)}. List each once."
        )
    return " ".join(parts)
