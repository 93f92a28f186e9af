"""Lines of the package's logger."""

import contextlib
import logging
import re
from collections.abc import Iterator


@contextlib.contextmanager
def logged(match: str = "") -> Iterator[list[str]]:
    """Yield the warnings that are logged in a `with` block; one of them must match."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("rum_ray"), Lines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
    assert any(re.search(match, line) for line in lines), lines
