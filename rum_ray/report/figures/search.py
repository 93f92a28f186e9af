"""Figures of the search: progress, choices, and quality against cost."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rum_ray.report.figures.result import draw_marks, join, marks, write_tags
from rum_ray.report.figures.style import COLORS, Look, new_figure, style_axes
from rum_ray.report.ranking import contestants
from rum_ray.report.text import space_title, unlearner_title
from rum_ray.report.trials import complete, front
from rum_ray.results.schema import Row

SHAPES = "ovs^D<>"

LineEnd = tuple[float, float, str, str, bool]  # y, x, name, color, and True for a bold name


def hues(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per space, the same in every figure; the largest space has the accent."""
    others = iter(COLORS.families * (len(names) // len(COLORS.families) + 1))
    return {name: COLORS.accent if name == max(names) else next(others) for name in names}


def progress(trials: pd.DataFrame, metric: str) -> Figure:
    """Draw the best objective so far over the trials, one line per search."""
    figure = new_figure(3.7, layout=None)
    axes = figure.add_axes((0.065, 0.14, 0.71, 0.83))
    style_axes(axes, "y")
    found = complete(trials)
    ends: list[LineEnd] = []
    names = [str(name) for name in trials["search"].unique()]
    colors = hues(names)
    for name in names:
        rows = found[found["search"] == name].sort_values("trial")
        if rows.empty:
            continue
        best = rows["objective"].cummax()
        until = int(trials.loc[trials["search"] == name, "trial"].max()) + 1
        x, y = [*(rows["trial"] + 1), until], [*best, best.iloc[-1]]
        strong = colors[name] == COLORS.accent
        width = 2.2 if strong else 1.4
        axes.plot(rows["trial"] + 1, rows["objective"], ".", color=colors[name], ms=3.5, alpha=0.45)
        axes.plot(x, y, drawstyle="steps-post", color=colors[name], linewidth=width)
        ends.append((float(best.iloc[-1]), float(until), space_title(name), colors[name], strong))
    axes.set_xlabel("trials so far")
    axes.set_ylabel(f"{metric} on validation data")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tops = found.groupby("search")["objective"].cummax()
    axes.set_ylim(float(tops.quantile(0.02)) - 0.03, float(tops.max()) + 0.02)
    axes.set_xlim(0.5, max((end[1] for end in ends), default=1) + 0.3)
    name_ends(axes, ends)
    return figure


def name_ends(axes: Axes, ends: list[LineEnd]) -> None:
    """Write the names of lines at their right ends, moved apart where they would overlap."""
    (low, high), right = axes.get_ylim(), axes.get_xlim()[1]
    step, gap = 0.062 * (high - low), 0.012 * right
    places: list[float] = []
    for y, *_ in sorted(ends):
        places.append(max(y, places[-1] + step) if places else y)
    for i, y in reversed(list(enumerate(places))):
        above = places[i + 1] - step if i + 1 < len(places) else high
        places[i] = min(y, above)
    for at, (y, x, name, color, strong) in zip(places, sorted(ends), strict=True):
        elbow = [x, right + gap, right + 3 * gap]
        axes.plot(elbow, [y, y, at], color=color, linewidth=0.6, clip_on=False)
        weight = "bold" if strong else "normal"
        look: Look = {"color": color, "va": "center", "weight": weight}
        axes.text(right + 4 * gap, at, name, **look)


def choice_panels(
    found: dict[str, dict[str, list[float]]],
    star: Mapping[str, tuple[str, float]],
    metric: str,
) -> Figure:
    """Draw each trial's objective by the unlearner of each subset.

    Args:
        found: objectives by subset and unlearner.
        star: unlearner and objective of the picked plan, by subset; empty for no star.
        metric: name of the objective.
    """
    medians: dict[str, list[float]] = {}
    for groups in found.values():
        for name, values in groups.items():
            medians.setdefault(name, []).extend(values)
    order = sorted(medians, key=lambda name: float(np.median(medians[name])))
    figure = new_figure(1.1 + 0.33 * len(order))
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (subset, groups) in zip(panels, found.items(), strict=True):
        style_axes(axes, "both")
        axes.set_title(subset)
        for row, name in enumerate(order):
            values = groups.get(name, [])
            look: Look = {"color": COLORS.family(0), "ms": 5, "alpha": 0.6}
            axes.plot(values, [row] * len(values), "o", markeredgewidth=0, **look)
            if values:
                axes.plot(np.median(values), row, "|", color=COLORS.ink, ms=13, markeredgewidth=1.6)
            chosen, value = star.get(subset, ("", 0.0))
            if chosen == name:
                edge: Look = {"ms": 13, "markeredgecolor": COLORS.paper}
                axes.plot(value, row, "*", color=COLORS.accent, **edge)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    panels[0].set_yticks(range(len(order)), [unlearner_title(name) for name in order])
    panels[0].set_ylim(-0.6, len(order) - 0.4)
    figure.supxlabel(f"{metric} on validation data", size=9, color=COLORS.muted)
    return figure


def cost(
    trials: pd.DataFrame,
    rows: Sequence[Row],
    max_cost: float | None,
    metric: str,
    reported: str,
) -> Figure:
    """Draw quality against cost: the trials of the searches, and the methods of the table.

    Args:
        trials: trials.parquet.
        rows: the methods.
        max_cost: the cap on cost; None for none.
        metric: name of the objective of the trials.
        reported: name of J, as it is measured on the methods.
    """
    has_trials = not complete(trials).empty
    figure = new_figure(4.4)
    panels = list(figure.subplots(1, 1 + has_trials, squeeze=False)[0])
    if has_trials:
        _trial_cost(panels[0], trials, max_cost, metric)
    axes = panels[-1]
    style_axes(axes)
    shown = [m for m in marks(contestants(rows), "cost", "objective") if m.row.method != "original"]
    join(axes, shown)
    draw_marks(axes, shown)
    axes.set_title("Methods, on test data", pad=22)
    axes.set_ylabel(reported)
    for each in panels:
        each.set_xlabel("cost  (share of one retraining)")
        each.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        each.set_xlim(left=0)
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    figure.set_layout_engine("none")
    write_tags(axes, shown)
    return figure


def _trial_cost(axes: Axes, trials: pd.DataFrame, max_cost: float | None, metric: str) -> None:
    style_axes(axes)
    rows = complete(trials)
    names = [str(name) for name in trials["search"].unique()]
    colors = hues(names)
    for index, name in enumerate(names):
        of_search = rows[rows["search"] == name]
        shape = SHAPES[index % len(SHAPES)]
        look: Look = {"color": colors[name], "ms": 5, "alpha": 0.75, "markeredgewidth": 0}
        axes.plot(of_search["cost"], of_search["objective"], shape, label=name, **look)
    edge = front(trials)
    axes.plot(
        edge["cost"], edge["objective"], color=COLORS.ink, linewidth=1.1, drawstyle="steps-post"
    )
    if max_cost is not None:
        axes.axvline(max_cost, color=COLORS.grey, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_title("Trials, on validation data", pad=22)
    axes.set_ylabel(metric)
    where: Look = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.0}
    style: Look = {
        "frameon": False,
        "labelcolor": COLORS.ink,
        "fontsize": 8.5,
        "handletextpad": 0.1,
    }
    axes.legend(ncols=6, columnspacing=1.2, **where, **style)
