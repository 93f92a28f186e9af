"""Errors for users, with the exit codes of the command line.

A message states the problem, the value, the allowed values and the remedy. The message is the only
argument of an error, so errors survive pickling between processes.
"""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import ClassVar


class RumRayError(Exception):
    """Base class: an error that the user can correct."""

    exit_code: ClassVar[int] = 1


class ConfigError(RumRayError):
    """The experiment file or a flag is invalid."""

    exit_code = 2


class PlanError(RumRayError):
    """A plan is invalid: subsets overlap, a subset is unknown, or the forget set is empty."""

    exit_code = 2


class DataError(RumRayError):
    """A data set is missing, damaged, or not in the expected format."""

    exit_code = 3


class ScoreError(RumRayError):
    """A score is unknown for an example that requires one."""

    exit_code = 3


class BusyError(RumRayError):
    """Another run holds the lock, or the output folder belongs to another experiment."""

    exit_code = 4


class DivergedError(RumRayError):
    """A loss or a weight is not finite."""

    exit_code = 5


class StalledError(RumRayError):
    """A stage cannot finish: jobs keep failing, or none makes progress."""

    exit_code = 5


class StoreError(RumRayError):
    """An artifact is damaged, has another format, or cannot be written."""

    exit_code = 6


class MissingError(StoreError):
    """An artifact that is needed is missing, or was damaged; a run computes it again."""


class DamagedError(MissingError):
    """An artifact was damaged; it was moved to quarantine, so now it is missing."""


class IntegrityError(RumRayError):
    """One key has two results with different bits: a computation is not deterministic."""

    exit_code = 7


class UnsafeError(RumRayError):
    """Refused: reading this could run code or exhaust memory."""

    exit_code = 8


class GateError(RumRayError):
    """A gate of a deletion is not met, so nothing is published."""

    exit_code = 9


@contextlib.contextmanager
def at(place: str) -> Iterator[None]:
    """Begin the errors that are raised within a `with` block with their place."""
    try:
        yield
    except RumRayError as error:
        raise type(error)(f"{place}: {error}") from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message: the known names, and the one closest to `name`, if any."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"Known: {', '.join(names)}."
    return f"{listed} Did you mean '{close[0]}'?" if close else listed


def first_ten(names: Iterable[object], quote: str = "'") -> str:
    """Return the first ten names in quotes, each cut to 80 characters, and the number of others."""
    texts = map(str, names)
    listed = [f"{quote}{t if len(t) <= 80 else t[:77] + '...'}{quote}" for t in texts]
    more = f" and {len(listed) - 10:,} more" if len(listed) > 10 else ""
    return f"{', '.join(listed[:10])}{more}"
