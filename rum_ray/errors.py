"""Every error that a user can meet, with the exit code of the command line.

A message says what is wrong, what was given, what is allowed and what to do. Each error takes
that one message and nothing else, so that all of them survive pickling between processes.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class RumRayError(Exception):
    """Something that a user can mend."""

    exit_code: ClassVar[int] = 1


class ConfigError(RumRayError):
    """The experiment file, or a flag, is wrong."""

    exit_code = 2


class PlanError(RumRayError):
    """Subsets overlap, an assignment names no subset, or there is nothing to forget."""

    exit_code = 2


class DataError(RumRayError):
    """A data set is missing, or not what it says."""

    exit_code = 3


class ScoreError(RumRayError):
    """A score is used where it is unknown."""

    exit_code = 3


class BusyError(RumRayError):
    """Another run holds the lock, or the output folder holds another experiment."""

    exit_code = 4


class DivergedError(RumRayError):
    """A loss or a weight is not finite."""

    exit_code = 5


class StalledError(RumRayError):
    """A stage could not finish: jobs kept failing, or none made progress."""

    exit_code = 5


class StoreError(RumRayError):
    """An artifact is damaged, of another format, or cannot be written."""

    exit_code = 6


class IntegrityError(RumRayError):
    """The same key was made twice with different bits: something is not deterministic."""

    exit_code = 7


class UnsafeError(RumRayError):
    """Refused: reading this could run code or exhaust memory."""

    exit_code = 8


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the part of a message that lists what is known and the nearest to `given`."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1)
    listed = f"Known: {', '.join(names)}."
    return f"{listed} Did you mean '{near[0]}'?" if near else listed
