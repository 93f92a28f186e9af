"""Pictures of what is hard to forget: scores, proxies of them, and entanglement."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from rum_ray.report.drawing import Look, Theme, canvas, quiet
from rum_ray.report.text import Json, number

BINS = 40


def mislabelled(scores: pd.DataFrame) -> NDArray[np.bool_] | None:
    """Return which examples have a wrong label, or None where no true labels are known."""
    if "true_label" not in scores or scores["true_label"].isna().all():
        return None
    wrong = (scores["label"] != scores["true_label"]).fillna(False).to_numpy(dtype=bool)
    return wrong if wrong.any() else None


def column(report: Json, scores: pd.DataFrame) -> str | None:
    """Return the column that holds the report's score, or None where none is known.

    It has the score's name, or `memorization`.
    """
    names = (str(report["scores"].get("name")), "memorization")
    return next((n for n in names if n in scores and scores[n].notna().any()), None)


def score_name(report: Json) -> str:
    """Return what the score is called in sentences and on axes."""
    return str(report["scores"].get("name") or "memorization").replace("_", " ")


def histogram(
    scores: pd.DataFrame, key: str, name: str, subsets: Sequence[Json], theme: Theme
) -> Figure:
    """Draw how a score is distributed, wrong labels below the clean ones.

    Each panel shows shares of its own group: there are far fewer wrong labels than clean ones, and
    the question is where each group lies.
    """
    wrong = mislabelled(scores)
    known = scores[key].notna().to_numpy()
    values = scores[key].to_numpy(dtype=float)
    groups = [("all examples", known, theme.grey, "")]
    if wrong is not None:
        groups = [("clean labels", known & ~wrong, theme.grey, "")]
        groups.append(("wrong labels", known & wrong, theme.accent, "///"))
    figure = canvas(1.5 + 1.35 * len(groups))
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    edges = np.linspace(min(low, 0.0), max(high, 1.0), BINS + 1)
    for axes, (group, rows, color, hatch) in zip(panels, groups, strict=True):
        quiet(axes, theme, "y")
        heights = np.histogram(values[rows], edges)[0] / max(1, rows.sum())
        look: Look = {"color": color, "edgecolor": theme.paper, "linewidth": 0.4, "hatch": hatch}
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", **look)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylabel("share of the group")
        ink = theme.accent if hatch else theme.ink
        where: Look = {"transform": axes.transAxes, "ha": "center", "va": "top", "color": ink}
        axes.text(0.5, 0.97, f"{group}, n = {rows.sum():,}", weight="bold", **where)
    _ranges(panels[-1], subsets, theme)
    panels[-1].set_xlim(edges[0] - 0.01, edges[-1] + 0.01)
    panels[-1].set_xlabel(f"{name}  (higher is harder to forget)", labelpad=4)
    return figure


def _ranges(axes: Axes, subsets: Sequence[Json], theme: Theme) -> None:
    """Mark under the axis where the subsets of the forget set lie."""
    known = [
        s for s in subsets if s.get("score_low") is not None and s.get("score_high") is not None
    ]
    if not known:
        return
    axes.tick_params(axis="x", pad=22)
    last = -np.inf
    for subset in sorted(known, key=lambda subset: float(subset["score_low"])):
        low, high = subset["score_low"], subset["score_high"]
        middle = (low + high) / 2
        bar: Look = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": theme.ink}
        axes.plot([low, max(high, low + 0.004)], [-0.07] * 2, linewidth=2.4, **bar)
        side = "left" if middle < 0.08 else "right" if middle > 0.92 else "center"
        at = low if side == "left" else high if side == "right" else middle
        if middle - last > 0.1:
            axes.text(at, -0.1, subset["name"], ha=side, va="top", size=8, **bar)
            last = middle


def proxy(scores: pd.DataFrame, name: str, proxies: Json, theme: Theme) -> Figure:
    """Draw the score against a proxy as a density, and how all proxies rank beside it.

    A thin line is a proxy's interval over examples, a thick one that over seeds.
    """
    figure = canvas(max(4.0, 1.2 + 0.42 * len(proxies)))
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    _density(left, scores, name, theme)
    quiet(right, theme, "x")
    known = sorted(
        (entry["spearman"], key, _ends(entry))
        for key, entry in proxies.items()
        if entry.get("spearman") is not None
    )
    for row, (value, key, ends) in enumerate(known):
        color = theme.ink if key == name else theme.muted
        for (low, high), width in zip(ends, (1.0, 2.6), strict=True):
            right.plot([low, high], [row, row], color=color, linewidth=width)
        right.plot(value, row, "o", color=color, ms=6.5)
        right.text(value, row + 0.2, number(value, 2), color=color, ha="center", va="bottom")
    right.set_yticks(range(len(known)), [key.replace("_", " ") for _, key, _ in known])
    right.set_ylim(-0.6, len(known) - 0.3)
    lowest = [low for *_, ends in known for low, _ in ends]
    right.set_xlim(min(0.0, *lowest) - 0.02 if known else 0, 1.02)
    right.set_xlabel("Spearman with memorization")
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    return figure


def _ends(proxy: Json) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of a proxy's interval over examples, and of that over seeds."""
    value, half = proxy["spearman"], proxy.get("ci95") or 0.0
    known = None not in (proxy.get("low"), proxy.get("high"))
    examples = (proxy["low"], proxy["high"]) if known else (value, value)
    return examples, (value - half, value + half)


def _density(axes: Axes, scores: pd.DataFrame, name: str, theme: Theme) -> None:
    pairs = scores[[name, "memorization"]].dropna().to_numpy(dtype=float)
    hue = theme.family(0)
    light = LinearSegmentedColormap.from_list("density", [theme.rule, hue, theme.ink])
    quiet(axes, theme, "none")
    drawn = axes.hexbin(
        pairs[:, 0],
        pairs[:, 1],
        gridsize=(34, 20),
        mincnt=1,
        norm=LogNorm(),
        cmap=light,
        linewidths=0.1,
    )
    axes.set_xlabel(f"{name.replace('_', ' ')}, as a score  (higher is harder)")
    axes.set_ylabel("memorization")
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02, aspect=24)
    bar.set_label("examples in a cell", color=theme.muted)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", colors=theme.muted, length=2)
    bar.ax.yaxis.set_major_formatter("{x:.0f}")


def entanglement(subsets: Sequence[Json], theme: Theme) -> Figure:
    """Draw the entanglement score of each subset and, where known, how well a probe tells it."""
    figure = canvas(1.0 + 0.48 * len(subsets))
    if all((subset.get("two_sample_auc") or {}).get("mean") is not None for subset in subsets):
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        _by_subset(right, subsets, "two_sample_auc", theme)
        right.axvline(0.5, color=theme.rule, linewidth=1, zorder=0)
        right.set_xlim(min(0.48, right.get_xlim()[0]), 1.02)
        right.set_yticks([])
        right.set_xlabel("AUC of a linear probe  (0.5: not told apart)")
    else:
        left = figure.add_subplot()
    _by_subset(left, subsets, "entanglement_score", theme)
    left.set_xlim(left=min(0.0, left.get_xlim()[0]))
    left.set_xlabel("entanglement score  (higher is more entangled)")
    return figure


def _by_subset(axes: Axes, subsets: Sequence[Json], name: str, theme: Theme) -> None:
    """Draw a metric of each subset: its mean, its interval, and each seed."""
    quiet(axes, theme, "x")
    for row, subset in enumerate(reversed(subsets)):
        metric = subset[name]
        mean, half = metric["mean"], metric.get("ci95") or 0.0
        seeds = [value for value in metric.get("values") or [] if value is not None]
        axes.plot(
            seeds, [row - 0.22] * len(seeds), "|", color=theme.grey, ms=7, markeredgewidth=1.1
        )
        axes.plot([mean - half, mean + half], [row, row], color=theme.ink, linewidth=1.6)
        axes.plot(mean, row, "o", color=theme.ink, ms=7)
        axes.text(mean, row + 0.2, number(mean, 2), color=theme.ink, ha="center", va="bottom")
    axes.set_yticks(range(len(subsets)), [subset["name"] for subset in reversed(subsets)])
    axes.set_ylim(-0.5, len(subsets) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
