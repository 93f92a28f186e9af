"""Figure of the ladder: J of each rung on test data, and the expected best of n trials."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from rum_ray.report.figures.labels import Tag, place
from rum_ray.report.figures.search import LineEnd, hues, name_ends
from rum_ray.report.figures.style import COLORS, Look, new_figure, style_axes
from rum_ray.report.text import SPACES, finite, format_number
from rum_ray.results.schema import Rung

Curves = Mapping[str, Sequence[float]]


def ladder(
    rungs: Sequence[Rung],
    control: Rung | None,
    floor: float | None,
    curves: Curves,
    metric: str,
) -> Figure:
    """Draw each rung's objective, and beside it the expected best of n trials.

    Args:
        rungs: from V0 up, of known objective.
        control: the plan on random subsets, drawn in grey after the rungs.
        floor: objective of the noise floor.
        curves: the expected best after 1, 2, ... trials, by space; no second panel if empty.
        metric: name of the objective.
    """
    figure = new_figure(4.2, layout=None)
    colors = hues([rung.space for rung in rungs])
    left = figure.add_axes((0.065, 0.2, 0.53 if curves else 0.9, 0.72))
    shown = [*rungs, *([control] if control else [])]
    _rungs(left, shown, colors)
    heights = [_measured(rung)[0] for rung in rungs]
    stairs: Look = {"drawstyle": "steps-mid", "color": COLORS.grey, "linewidth": 0.8, "zorder": 1}
    left.plot(range(len(rungs)), heights, **stairs)
    if floor is not None:
        left.axhline(floor, color=COLORS.grey, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    _name(left, shown, heights, floor)
    left.set_title("The plan of each rung, on test data", pad=8)
    left.set_ylabel(metric)
    if curves:
        right = figure.add_axes((0.685, 0.2, 0.265, 0.72))
        right.set_ylabel(f"expected best {metric}")
        _expected(right, curves, colors)
    return figure


def _rungs(axes: Axes, shown: Sequence[Rung], colors: Mapping[str, str]) -> None:
    """Draw one dot with its interval per rung, above its name."""
    style_axes(axes, "y")
    for x, rung in enumerate(shown):
        value, half = _measured(rung)
        color = colors.get(rung.space, COLORS.grey)
        axes.plot([x] * 2, [value - half, value + half], color=color, linewidth=1.8)
        look: Look = {"color": color, "ms": 9, "markeredgecolor": COLORS.paper}
        axes.plot(x, value, "o", zorder=3, **look)
    names = [[rung.space, *_explained(rung.space)] for rung in shown]
    axes.set_xticks(range(len(shown)), ["\n".join(name) for name in names])
    axes.tick_params(axis="x", length=0, pad=6)
    axes.set_xlim(-0.5, len(shown) - 0.5)


def _explained(space: str) -> list[str]:
    return textwrap.wrap(SPACES[space], 13) if space in SPACES else []


def _name(axes: Axes, shown: Sequence[Rung], heights: Sequence[float], floor: float | None) -> None:
    """Label the dots with their values, and the dashed line, clear of each other."""
    dots = [(float(x), *_measured(rung)) for x, rung in enumerate(shown)]
    tags = [Tag(x, y, format_number(y), COLORS.ink, must=True) for x, y, _ in dots]
    bars = [Bbox.from_extents(x, y - half, x, y + half) for x, y, half in dots]
    bars += [Bbox.from_extents(x - 0.5, y, x + 0.5, y) for x, y in enumerate(heights)]
    risers = enumerate(pairwise(heights))
    bars += [Bbox.from_extents(x + 0.5, min(ends), x + 0.5, max(ends)) for x, ends in risers]
    if floor is not None:
        low, high = axes.get_ylim()
        axes.set_ylim(low, max(high, floor + 0.1 * (floor - low)))
        tags.append(Tag(-0.5, floor, "noise floor: retrained again", COLORS.muted, must=True))
        bars.append(Bbox.from_extents(-0.5, floor, len(shown) - 0.5, floor))
    place(axes, tags, [(x, y) for x, y, _ in dots], bars)


def _measured(rung: Rung) -> tuple[float, float]:
    """Return a rung's objective and half of its interval."""
    return rung.objective.mean or 0.0, finite(rung.objective.ci95) or 0.0


def _expected(axes: Axes, curves: Curves, colors: Mapping[str, str]) -> None:
    """Draw the expected best against trials, from the quarter on where trials rarely all fail."""
    style_axes(axes, "y")
    ends: list[LineEnd] = []
    for name, curve in curves.items():
        strong, color = colors[name] == COLORS.accent, colors[name]
        width = 2.2 if strong else 1.4
        axes.plot(range(1, len(curve) + 1), curve, color=color, linewidth=width)
        ends.append((curve[-1], float(len(curve)), name, color, strong))
    low = min(curve[len(curve) // 4] for curve in curves.values())
    high = max(curve[-1] for curve in curves.values())
    axes.set_ylim(low - 0.02, high + 0.02)
    axes.set_xlim(0.5, max(end[1] for end in ends) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_title("The best of n trials, on validation data", pad=8)
    axes.set_xlabel("trials n")
    name_ends(axes, ends)
