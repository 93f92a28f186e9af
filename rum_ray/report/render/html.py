"""Blocks as one HTML file that opens from disk, loads nothing and runs nothing."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jinja2

from rum_ray.report.blocks import Range, Section
from rum_ray.report.figures.style import DARK, LIGHT
from rum_ray.report.text import format_number

RANGE_WIDTH = 150  # pixels


def render(sections: Sequence[Section]) -> str:
    """Return the page; the first section is its head."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "kind": lambda block: type(block).__name__,
        "number": format_number,
        "slug": lambda name: re.sub(r"\W+", "-", str(name).lower()),
        "places": places,
    }
    environment.filters |= filters
    page = environment.get_template("page.html.j2")
    return page.render(head=sections[0], sections=sections[1:], light=LIGHT, dark=DARK)


def places(interval: Range) -> dict[str, float]:
    """Return the places of an interval, its middle and zero, in pixels from the left."""
    span = (interval.right - interval.left) or 1.0
    values = {"zero": 0.0, "low": interval.low, "mean": interval.mean, "high": interval.high}
    inner = RANGE_WIDTH - 12
    return {name: round(6 + inner * (x - interval.left) / span, 2) for name, x in values.items()}
