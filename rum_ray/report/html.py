"""The report as one HTML file that opens from disk, loads nothing and runs nothing."""

import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rum_ray.report import (
    attacks,
    facts,
    findings,
    findings_scores,
    findings_search,
    ladder,
    plates,
    tables,
    text,
)
from rum_ray.report.drawing import DARK, LIGHT
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import mean, metric, subject
from rum_ray.report.text import Json


def render(report: Json, scores: pd.DataFrame, trials: pd.DataFrame, gallery: Gallery) -> str:
    """Return the page. `report` has every key and holds printable text only."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": text.number,
        "percent": text.percent,
        "count": text.count,
        "duration": text.duration,
        "unlearner": text.unlearner,
        "clean": text.clean,
    }
    page = environment.get_template("report.html.j2")
    return page.render(_context(report, scores, trials, gallery))


def _context(
    report: Json, scores: pd.DataFrame, trials: pd.DataFrame, gallery: Gallery
) -> dict[str, Any]:
    row = subject(report["rows"])
    return {
        "report": report,
        "light": LIGHT,
        "dark": DARK,
        "gallery": gallery,
        "attacks": attacks,
        "findings": findings,
        "findings_scores": findings_scores,
        "findings_search": findings_search,
        "facts": facts,
        "ladder": ladder,
        "tables": tables,
        "values": text.values,
        "results": tables.results(report),
        "steps": _steps(report, row),
        "total_cost": text.share(metric(row, "cost")),
        "intervals": _intervals,
        "freest": findings_search.freest(report),
        "stages": _stages(report["stages"]),
        "dashboard": _address(report["environment"].get("dashboard")),
        "plates": {
            "result": plates.result(report),
            "histogram": plates.histogram(report, scores),
            "density": plates.density(report, scores),
            "entanglement": plates.entanglement(report),
            "progress": plates.progress(report, trials),
            "choices": plates.choices(report, trials),
            "cost": plates.cost(report, trials),
            "ladder": plates.ladder(report),
        },
        "seeds": len(row["seeds"]) if row else 0,
        "objective": mean(row, "objective"),
    }


def _steps(report: Json, row: Json | None) -> list[Json]:
    """Return the steps of the winning plan, each with what is known of its subset."""
    known = {subset["name"]: subset for subset in report["subsets"]}
    return [
        {**step, "about": known.get(step["subset"], {})} for step in (row or {}).get("plan") or []
    ]


def _intervals(comparisons: list[Json]) -> list[Json]:
    """Return the places of each claim's interval on one axis from 0 to 150, and that of zero."""
    ends = [claim.get(key) for claim in comparisons for key in ("low", "high")]
    known = [0.0, *(end for end in ends if end is not None)]
    low, width = min(known), (max(known) - min(known)) or 1.0

    def at(value: float | None) -> float | None:
        return None if value is None else round(6 + 138 * (value - low) / width, 2)

    places = ("low", "mean", "high")
    return [
        {"zero": at(0.0), **{key: at(claim.get(key)) for key in places}} for claim in comparisons
    ]


def _stages(stages: list[Json]) -> list[Json]:
    """Return the share of the time that each stage took."""
    total = sum(stage.get("seconds") or 0.0 for stage in stages)
    return [{**s, "share": (s.get("seconds") or 0.0) / total if total else 0.0} for s in stages]


def _address(value: str | None) -> str | None:
    """Return an address that a link may lead to: of the web, and nothing that could run."""
    return value if value and re.fullmatch(r"https?://[\w.\-:\[\]/#?=&%]+", value) else None
