"""Sections of the page, one file each: findings, tables, figures with captions, and notes.

A section is a function `section(report, gallery)` that returns blocks, or None where the study has
no such thing. To add a table or a figure, edit its section.
"""

from collections.abc import Callable
from dataclasses import replace

from rum_ray.report.blocks import Section
from rum_ray.report.gallery import Gallery
from rum_ray.report.sections import (
    attacks,
    forecast,
    headline,
    ladder,
    making,
    references,
    reliability,
    repeats,
    result,
    scores,
    search,
)
from rum_ray.report.text import printable
from rum_ray.results.report import Report

SECTIONS: tuple[Callable[[Report, Gallery], Section | None], ...] = (
    headline.section,
    result.section,
    attacks.section,
    scores.section,
    search.section,
    ladder.section,
    references.section,
    reliability.section,
    forecast.section,
    making.section,
)
"""In the order of the page. The first is the page's head."""
OVER_REPEATS: tuple[Callable[[Report, Gallery], Section | None], ...] = (
    headline.section,
    result.section,
    attacks.section,
    repeats.section,
    references.section,
    reliability.section,
    making.section,
)
"""The same of a report over repeats; examples, trials and forecasts are in the single reports."""


def sections(report: Report, gallery: Gallery) -> tuple[Section, ...]:
    """Return the sections of a report, with control characters removed from all names."""
    report, gallery = replace(report, summary=printable(report.summary)), printable(gallery)
    chosen = OVER_REPEATS if report.summary.repeats else SECTIONS
    found = (section(report, gallery) for section in chosen)
    return tuple(section for section in found if section is not None)
