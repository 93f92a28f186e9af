"""A metric as report.json has it."""

from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]
"""Mean, ci95 and values by seed; the reason where there is no mean."""


def missing(reason: str) -> Entry:
    """Return a metric that cannot be computed, and why."""
    return {"mean": None, "ci95": None, "values": [], "reason": reason}
