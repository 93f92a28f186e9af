"""Ask a Prometheus every query of the Grafana dashboard, and draw those with a result.

Usage, during a run or while Prometheus still holds it:

    python docs/draw_metrics.py http://127.0.0.1:9090 docs/images/metrics.png 10

The last argument is the length of the picture in minutes before now.
"""

import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image

DASHBOARD = Path(__file__).parents[1] / "deploy" / "grafana" / "rum_ray.json"
COLUMNS = 3
UNITS = {"s": (" (s)", 1.0), "bytes": (" (MB)", 1e-6)}
"""Suffix of the title, and factor of the values, by the unit of a panel."""


def ask(address: str, query: str, minutes: float) -> list[dict[str, Any]]:
    """Return the series of a query over the last minutes, for all experiments and runs."""
    query = query.replace("$experiment", ".*").replace("$run", ".*")
    now = time.time()
    arguments = {"query": query, "start": now - 60 * minutes, "end": now, "step": "5s"}
    url = f"{address}/api/v1/query_range?{urllib.parse.urlencode(arguments)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return series


def points(series: dict[str, Any], start: float, factor: float) -> tuple[list[float], list[float]]:
    """Return minutes and values of a series, with a gap where it has none."""
    times, values = [], []
    for moment, value in series["values"]:
        if times and moment - times[-1] > 6:
            times.append(times[-1] + 1)
            values.append(float("nan"))
        times.append(moment)
        values.append(factor * float(value))
    return [(moment - start) / 60 for moment in times], values


def draw_panel(
    axes: Axes, unit: str, found: list[dict[str, Any]], start: float, stages: list[str]
) -> None:
    """Draw a panel with a line per series; each stage has its own color."""
    factor = UNITS.get(unit, ("", 1.0))[1]
    for one in found:
        labels = {n: v for n, v in one["metric"].items() if n not in ("experiment", "run")}
        look = {"label": " ".join(labels.values())}
        if "stage" in labels:
            look = {"color": f"C{stages.index(labels['stage'])}"}
        axes.plot(*points(one, start, factor), linewidth=1.6, **look)
    axes.set_ylim(0, None if axes.dataLim.y1 > 0 else 1)
    axes.tick_params(labelsize=7)
    axes.grid(color="0.9")
    if any(axes.get_legend_handles_labels()[1]):
        axes.legend(fontsize=6, frameon=False)


def draw(panels: dict[str, tuple[str, list[dict[str, Any]]]], picture: Path) -> None:
    """Draw the panels, and name the stages above them."""
    rows = -(-len(panels) // COLUMNS)
    figure, grid = plt.subplots(
        rows, COLUMNS, figsize=(12, 2.1 * rows), layout="constrained", squeeze=False, sharex=True
    )
    series = [one for _, found in panels.values() for one in found]
    series.sort(key=lambda one: one["values"][0][0])
    start = series[0]["values"][0][0]
    named = [one["metric"]["stage"] for one in series if "stage" in one["metric"]]
    stages = list(dict.fromkeys(named))
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes, (title, (unit, found)) in zip(grid.flat, panels.items(), strict=False):
        draw_panel(axes, unit, found, start, stages)
        axes.set_title(title + UNITS.get(unit, ("", 1.0))[0], fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("minutes", fontsize=8)
    lines = [Line2D([], [], color=f"C{number}") for number in range(len(stages))]
    place = "outside upper center"
    figure.legend(lines, stages, loc=place, ncols=8, fontsize=8, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100)
    small = Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)


def main(address: str, picture: str, minutes: str) -> None:
    """Ask and draw; print the panels without a result."""
    panels = {}
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        found = ask(address, panel["targets"][0]["expr"], float(minutes))
        if found:
            panels[panel["title"]] = (panel["fieldConfig"]["defaults"]["unit"], found)
        else:
            print("no result:", panel["title"])
    draw(panels, Path(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
