"""Pictures of how the plan was found: progress, choices, and quality against cost."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rum_ray.evaluation.statistics import pareto
from rum_ray.report.drawing import Look, Theme, canvas, quiet
from rum_ray.report.figure_result import draw_marks, join, marks, write_tags
from rum_ray.report.ranking import contestants
from rum_ray.report.text import KNOWLEDGE, OBJECTIVE, Json, space, unlearner

SHAPES = "ovs^D<>"

End = tuple[float, float, str, str, bool]  # of a line: y, x, its name and colour, whether strong


def complete(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that have an objective."""
    if "objective" not in trials:
        return pd.DataFrame(columns=["search", "trial", "status", "objective", "cost", "plan"])
    return trials[(trials["status"] == "complete") & trials["objective"].notna()]


def alike(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials whose objectives can be compared: without searches by other references.

    Those are named after their space and their reference, as in "V4 surrogate".
    """
    if "search" not in trials:
        return trials
    ends = trials["search"].astype(str).str.rpartition(" ")[2]
    return trials[~ends.isin(list(KNOWLEDGE))]


def hues(names: Sequence[str], theme: Theme) -> dict[str, str]:
    """Return a colour for each space, the same in every figure: the accent is RUM's, the freest."""
    others = iter(theme.families * (len(names) // len(theme.families) + 1))
    return {name: theme.accent if name == max(names) else next(others) for name in names}


def freest_search(trials: pd.DataFrame) -> str:
    """Return the search that leaves most to choose: spaces are named in the order of their size."""
    return max(str(name) for name in complete(trials)["search"].unique())


def progress(trials: pd.DataFrame, theme: Theme) -> Figure:
    """Draw the best objective so far over the trials, one line a search."""
    figure = canvas(3.7, layout=None)
    axes = figure.add_axes((0.065, 0.14, 0.71, 0.83))
    quiet(axes, theme, "y")
    found = complete(trials)
    ends: list[End] = []
    names = [str(name) for name in trials["search"].unique()]
    colors = hues(names, theme)
    for name in names:
        rows = found[found["search"] == name].sort_values("trial")
        if rows.empty:
            continue
        best = rows["objective"].cummax()
        until = int(trials.loc[trials["search"] == name, "trial"].max()) + 1
        x, y = [*(rows["trial"] + 1), until], [*best, best.iloc[-1]]
        strong = colors[name] == theme.accent
        width = 2.2 if strong else 1.4
        axes.plot(rows["trial"] + 1, rows["objective"], ".", color=colors[name], ms=3.5, alpha=0.45)
        axes.plot(x, y, drawstyle="steps-post", color=colors[name], linewidth=width)
        ends.append((float(best.iloc[-1]), float(until), space(name), colors[name], strong))
    axes.set_xlabel("trials so far")
    axes.set_ylabel(f"{OBJECTIVE} on validation data")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tops = found.groupby("search")["objective"].cummax()
    axes.set_ylim(float(tops.quantile(0.02)) - 0.03, float(tops.max()) + 0.02)
    axes.set_xlim(0.5, max((end[1] for end in ends), default=1) + 0.3)
    name_ends(axes, ends, theme)
    return figure


def name_ends(axes: Axes, ends: list[End], theme: Theme) -> None:
    """Write the names of lines at their right ends, moved apart where they would meet."""
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
        weight, ink = "bold" if strong else "normal", theme.muted if color == theme.grey else color
        look: Look = {"color": ink, "va": "center", "weight": weight}
        axes.text(right + 4 * gap, at, name, **look)


def choices(
    trials: pd.DataFrame, search: str, subsets: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Return the objectives of a search's trials by subset and by the unlearner chosen there.

    Args:
        trials: of all searches.
        search: whose.
        subsets: in the order in which they are shown, whatever order a plan has; others follow.
    """
    found: dict[str, dict[str, list[float]]] = {}
    rows = complete(trials)
    for row in rows[rows["search"] == search].to_dict("records"):
        for step in json.loads(row["plan"]):
            by_name = found.setdefault(step["subset"], {})
            by_name.setdefault(step["unlearner"]["name"], []).append(float(row["objective"]))
    return {name: found[name] for name in dict.fromkeys([*subsets, *found]) if name in found}


def explained(groups: dict[str, list[float]]) -> float | None:
    """Return the share of the variance between groups, less what chance alone gives (omega^2)."""
    values = np.concatenate([np.array(group) for group in groups.values()])
    total = float(((values - values.mean()) ** 2).sum())
    between = sum(len(g) * (float(np.mean(g)) - float(values.mean())) ** 2 for g in groups.values())
    if len(values) <= len(groups) or total == 0:
        return None
    noise = (total - between) / (len(values) - len(groups))
    return max(0.0, (between - (len(groups) - 1) * noise) / (total + noise))


def choice_panels(found: dict[str, dict[str, list[float]]], theme: Theme) -> Figure:
    """Draw each trial's objective by the unlearner that each subset got."""
    medians: dict[str, list[float]] = {}
    for groups in found.values():
        for name, values in groups.items():
            medians.setdefault(name, []).extend(values)
    order = sorted(medians, key=lambda name: float(np.median(medians[name])))
    figure = canvas(1.1 + 0.33 * len(order))
    panels = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    top = max(max(values) for groups in found.values() for values in groups.values())
    for axes, (subset, groups) in zip(panels, found.items(), strict=True):
        quiet(axes, theme, "both")
        axes.set_title(subset)
        for row, name in enumerate(order):
            values = groups.get(name, [])
            look: Look = {"color": theme.family(0), "ms": 5, "alpha": 0.6}
            axes.plot(values, [row] * len(values), "o", markeredgewidth=0, **look)
            if values:
                axes.plot(np.median(values), row, "|", color=theme.ink, ms=13, markeredgewidth=1.6)
            if top in values:
                axes.plot(top, row, "*", color=theme.accent, ms=13, markeredgecolor=theme.paper)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    panels[0].set_yticks(range(len(order)), [unlearner(name) for name in order])
    panels[0].set_ylim(-0.6, len(order) - 0.4)
    figure.supxlabel(f"{OBJECTIVE} on validation data", size=9, color=theme.muted)
    return figure


def front(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that no cheaper one matches, by rising cost."""
    rows = complete(trials)
    return rows.iloc[pareto(rows["cost"].tolist(), rows["objective"].tolist())]


def cost(
    trials: pd.DataFrame, rows: Sequence[Json], max_cost: float | None, theme: Theme
) -> Figure:
    """Draw quality against cost: the trials of the searches, and the methods of the table."""
    has_trials = not complete(trials).empty
    figure = canvas(4.4)
    panels = list(figure.subplots(1, 1 + has_trials, squeeze=False)[0])
    if has_trials:
        _trial_cost(panels[0], trials, max_cost, theme)
    axes = panels[-1]
    quiet(axes, theme)
    shown = [
        m
        for m in marks(contestants(rows), theme, "cost", "objective")
        if m.row["method"] != "original"
    ]
    join(axes, shown)
    draw_marks(axes, shown, theme)
    axes.set_title("Methods, on test data", pad=22)
    axes.set_ylabel(OBJECTIVE)
    for each in panels:
        each.set_xlabel("cost  (share of one retraining)")
        each.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        each.set_xlim(left=0)
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    figure.set_layout_engine("none")
    write_tags(axes, shown, theme)
    return figure


def _trial_cost(axes: Axes, trials: pd.DataFrame, max_cost: float | None, theme: Theme) -> None:
    quiet(axes, theme)
    rows = complete(trials)
    names = [str(name) for name in trials["search"].unique()]
    colors = hues(names, theme)
    for index, name in enumerate(names):
        of_search = rows[rows["search"] == name]
        shape = SHAPES[index % len(SHAPES)]
        look: Look = {"color": colors[name], "ms": 5, "alpha": 0.75, "markeredgewidth": 0}
        axes.plot(of_search["cost"], of_search["objective"], shape, label=name, **look)
    edge = front(trials)
    axes.plot(
        edge["cost"], edge["objective"], color=theme.ink, linewidth=1.1, drawstyle="steps-post"
    )
    if max_cost is not None:
        axes.axvline(max_cost, color=theme.grey, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_title("Trials, on validation data", pad=22)
    axes.set_ylabel(OBJECTIVE)
    where: Look = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.0}
    style: Look = {"frameon": False, "labelcolor": theme.ink, "fontsize": 8.5, "handletextpad": 0.1}
    axes.legend(ncols=6, columnspacing=1.2, **where, **style)
