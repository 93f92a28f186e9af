"""Repair: what a damaged artifact interrupts is attempted again, and the artifact made again.

An artifact is verified where it is loaded, in the driver or in a worker. A damaged one is moved to
quarantine, so it is missing from then on. The next attempt finds everything else in the store.
"""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from rum_ray.errors import MissingError
from rum_ray.store import Store

T = TypeVar("T")
ATTEMPTS = 3
"""Most attempts that end with the same missing artifact; then the disk or the memory is broken."""


def repaired(attempt: Callable[[], T], store: Store, say: Callable[[str], None]) -> T:
    """Return the result of an attempt; begin again whenever it lacks an artifact of the store.

    Args:
        attempt: computes what the store lacks, and reads the results.
        store: the artifacts.
        say: receives a line per missing artifact.

    Raises:
        MissingError: the same artifact was missing in each of three attempts.
    """
    told: Counter[str] = Counter()
    while True:
        try:
            return attempt()
        except MissingError as error:
            told[str(error)] += 1
            if told[str(error)] == ATTEMPTS:
                raise
            say(f"warning: {error}")
            store.refresh()
