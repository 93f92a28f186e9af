"""Figure of levels: a metric of each unlearner on forget sets of rising difficulty."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rum_ray.report.figures.search import SHAPES, LineEnd, name_ends
from rum_ray.report.figures.style import COLORS, Look, new_figure, style_axes

LEVELS = ("low", "medium", "high")
APART = 0.025  # of neighbouring lines, so that their bars do not cover each other


@dataclass(frozen=True)
class Line:
    """A method over the levels.

    Attributes:
        name: at the end of its line.
        points: level, mean and half of the interval.
        is_context: True for doing nothing and the noise floor.
    """

    name: str
    points: tuple[tuple[int, float, float], ...]
    is_context: bool = False


@dataclass(frozen=True)
class Panel:
    """The lines of one kind of level, such as memorization."""

    title: str
    lines: tuple[Line, ...]


def levels(panels: Sequence[Panel], metric: str) -> Figure:
    """Draw a metric by level, one panel per kind of level, with equal scales."""
    figure, width = new_figure(4.0, layout=None), 1 / len(panels)
    ends = [(m - h, m + h) for p in panels for line in p.lines for _, m, h in line.points]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    for place, panel in enumerate(panels):
        axes = figure.add_axes((0.065 + place * width, 0.11, width - 0.24, 0.79))
        style_axes(axes, "y")
        axes.set_ylim(low - 0.03 * (high - low) - 1e-3, high + 0.03 * (high - low) + 1e-3)
        axes.set_xlim(-0.25, len(LEVELS) - 0.75)
        axes.set_xticks(range(len(LEVELS)), LEVELS)
        axes.set_title(panel.title, pad=8)
        axes.set_ylabel("" if place else metric)
        _draw(axes, panel.lines)
    return figure


def _draw(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw the lines with their interval bars, and name them at their ends."""
    ends: list[LineEnd] = []
    for place, line in enumerate(lines):
        color = COLORS.grey if line.is_context else COLORS.family(place)
        shift = APART * (place - (len(lines) - 1) / 2)
        x = [level + shift for level, _, _ in line.points]
        y = [mean for _, mean, _ in line.points]
        look: Look = {"linestyle": (0, (4, 3)) if line.is_context else "-", "linewidth": 1.4}
        axes.plot(x, y, SHAPES[place % len(SHAPES)], color=color, ms=4.5, **look)
        for at, (_, mean, half) in zip(x, line.points, strict=True):
            axes.plot([at] * 2, [mean - half, mean + half], color=color, linewidth=1.0, alpha=0.55)
        ends.append((y[-1], x[-1], line.name, COLORS.muted if line.is_context else color, False))
    name_ends(axes, ends)
