"""Figures of difficulty: scores, proxies, and entanglement."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from rum_ray.report.figures.style import COLORS, Look, new_figure, style_axes
from rum_ray.report.text import finite, format_number
from rum_ray.results.schema import Metric, ProxySummary, SubsetSummary

BINS = 40
SHADES = 10  # of the density: one hue, ever more opaque, so that it suits light and dark pages


def mislabelled(scores: pd.DataFrame) -> NDArray[np.bool_] | None:
    """Return a mask of the examples with a wrong label; None if none is known to be wrong."""
    if "true_label" not in scores or scores["true_label"].isna().all():
        return None
    wrong = (scores["label"] != scores["true_label"]).fillna(False).to_numpy(dtype=bool)
    return wrong if wrong.any() else None


def histogram(
    scores: pd.DataFrame, key: str, name: str, subsets: Sequence[SubsetSummary]
) -> Figure:
    """Draw the distribution of a score, wrong labels below the clean ones.

    Each panel shows shares of its own group, since wrong labels are far fewer than clean ones.
    """
    wrong = mislabelled(scores)
    known = scores[key].notna().to_numpy()
    values = scores[key].to_numpy(dtype=float)
    groups = [("all examples", known, COLORS.grey, "")]
    if wrong is not None:
        groups = [("clean labels", known & ~wrong, COLORS.grey, "")]
        groups.append(("wrong labels", known & wrong, COLORS.accent, "///"))
    figure = new_figure(1.5 + 1.35 * len(groups))
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    edges = np.linspace(min(low, 0.0), max(high, 1.0), BINS + 1)
    for axes, (group, rows, color, hatch) in zip(panels, groups, strict=True):
        style_axes(axes, "y")
        heights = np.histogram(values[rows], edges)[0] / max(1, rows.sum())
        look: Look = {"color": color, "edgecolor": COLORS.paper, "linewidth": 0.4, "hatch": hatch}
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", **look)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylabel("share of the group")
        ink = COLORS.accent if hatch else COLORS.ink
        where: Look = {"transform": axes.transAxes, "ha": "center", "va": "top", "color": ink}
        axes.text(0.5, 0.97, f"{group}, n = {rows.sum():,}", weight="bold", **where)
    _ranges(panels[-1], subsets)
    panels[-1].set_xlim(edges[0] - 0.01, edges[-1] + 0.01)
    panels[-1].set_xlabel(f"{name}  (higher is harder to forget)", labelpad=4)
    return figure


def _ranges(axes: Axes, subsets: Sequence[SubsetSummary]) -> None:
    """Mark the ranges of the subsets under the axis."""
    known = [
        (low, high, subset.name)
        for subset in subsets
        if (low := finite(subset.score_low)) is not None
        and (high := finite(subset.score_high)) is not None
    ]
    if not known:
        return
    axes.tick_params(axis="x", pad=22)
    last = -np.inf
    for low, high, name in sorted(known, key=lambda subset: subset[0]):
        middle = (low + high) / 2
        bar: Look = {"transform": axes.get_xaxis_transform(), "clip_on": False, "color": COLORS.ink}
        axes.plot([low, max(high, low + 0.004)], [-0.07] * 2, linewidth=2.4, **bar)
        side = "left" if middle < 0.08 else "right" if middle > 0.92 else "center"
        at = low if side == "left" else high if side == "right" else middle
        if middle - last > 0.1:
            axes.text(at, -0.1, name, ha=side, va="top", size=8, **bar)
            last = middle


def proxy(scores: pd.DataFrame, name: str, proxies: Mapping[str, ProxySummary]) -> Figure:
    """Draw memorization against a proxy as a density, and each proxy's rank correlation.

    A thin line is a proxy's interval over examples, a thick one that over seeds.
    """
    figure = new_figure(max(4.0, 1.2 + 0.42 * len(proxies)))
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    _density(left, scores, name)
    style_axes(right, "x")
    known = sorted(
        (value, key, _ends(value, entry))
        for key, entry in proxies.items()
        if (value := finite(entry.spearman)) is not None
    )
    for row, (value, key, ends) in enumerate(known):
        color = COLORS.ink if key == name else COLORS.muted
        for (low, high), width in zip(ends, (1.0, 2.6), strict=True):
            right.plot([low, high], [row, row], color=color, linewidth=width)
        right.plot(value, row, "o", color=color, ms=6.5)
        right.text(value, row + 0.2, format_number(value, 2), color=color, ha="center", va="bottom")
    right.set_yticks(range(len(known)), [key.replace("_", " ") for _, key, _ in known])
    right.set_ylim(-0.6, len(known) - 0.3)
    lowest = [low for *_, ends in known for low, _ in ends]
    right.set_xlim(min(0.0, *lowest) - 0.02 if known else 0, 1.02)
    right.set_xlabel("Spearman with memorization")
    right.tick_params(axis="y", length=0)
    right.spines["left"].set_visible(False)
    return figure


def _ends(value: float, proxy: ProxySummary) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of a proxy's interval over examples, and of that over seeds."""
    half, low, high = finite(proxy.ci95) or 0.0, finite(proxy.low), finite(proxy.high)
    examples = (value, value) if low is None or high is None else (low, high)
    return examples, (value - half, value + half)


def _density(axes: Axes, scores: pd.DataFrame, name: str) -> None:
    pairs = scores[[name, "memorization"]].dropna().to_numpy(dtype=float)
    opacities = np.linspace(0.3, 1, SHADES).tolist()
    shades = ListedColormap([to_rgba(COLORS.family(0), alpha) for alpha in opacities])
    style_axes(axes, "none")
    drawn = axes.hexbin(
        pairs[:, 0],
        pairs[:, 1],
        gridsize=(34, 20),
        mincnt=1,
        norm=LogNorm(),
        cmap=shades,
        linewidths=0.1,
    )
    axes.set_xlabel(f"{name.replace('_', ' ')}, as a score  (higher is harder)")
    axes.set_ylabel("memorization")
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02, aspect=24)
    bar.ax.set_facecolor("none")
    bar.set_label("examples in a cell", color=COLORS.muted)
    bar.outline.set_visible(False)
    bar.ax.tick_params(which="both", colors=COLORS.muted, length=2)
    bar.ax.yaxis.set_major_formatter("{x:.0f}")


def entanglement(subsets: Sequence[SubsetSummary]) -> Figure:
    """Draw the entanglement score of each subset and, where known, the AUC of a linear probe."""
    figure = new_figure(1.0 + 0.48 * len(subsets))
    names = [subset.name for subset in subsets]
    probes = [subset.two_sample_auc for subset in subsets]
    if all(finite(probe.mean) is not None for probe in probes):
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
        _by_subset(right, names, probes)
        right.axvline(0.5, color=COLORS.rule, linewidth=1, zorder=0)
        right.set_xlim(min(0.48, right.get_xlim()[0]), 1.02)
        right.set_yticks([])
        right.set_xlabel("AUC of a linear probe  (0.5: not distinguishable)")
    else:
        left = figure.add_subplot()
    _by_subset(left, names, [subset.entanglement_score for subset in subsets])
    left.set_xlim(left=min(0.0, left.get_xlim()[0]))
    left.set_xlabel("entanglement score  (higher is more entangled)")
    return figure


def _by_subset(axes: Axes, names: Sequence[str], metrics: Sequence[Metric]) -> None:
    """Draw a metric of each subset: its mean, its interval, and each seed."""
    style_axes(axes, "x")
    for row, metric in enumerate(reversed(metrics)):
        mean, half = metric.mean or 0.0, finite(metric.ci95) or 0.0
        seeds = [value for value in metric.values if value is not None]
        axes.plot(
            seeds, [row - 0.22] * len(seeds), "|", color=COLORS.grey, ms=7, markeredgewidth=1.1
        )
        axes.plot([mean - half, mean + half], [row, row], color=COLORS.ink, linewidth=1.6)
        axes.plot(mean, row, "o", color=COLORS.ink, ms=7)
        text = format_number(mean, 2)
        axes.text(mean, row + 0.2, text, color=COLORS.ink, ha="center", va="bottom")
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.5, len(names) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
