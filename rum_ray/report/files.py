"""Writing a report: five files, each whole or not there."""

import json
from pathlib import Path

import pandas as pd

from rum_ray.files import write_bytes
from rum_ray.report import html, markdown
from rum_ray.report.figure_search import alike
from rum_ray.report.gallery import Gallery
from rum_ray.report.text import Json, label, plain, printable

_DEFAULTS: Json = {
    "status": "complete",
    "experiment": {"name": None, "digest": None, "config": None},
    "environment": {},
    "data": {},
    "scores": {},
    "forget": {},
    "subsets": [],
    "rows": [],
    "comparisons": [],
    "searches": [],
    "ladder": None,
    "references": [],
    "stages": [],
    "costs": {},
    "selected_on": [],
    "warnings": [],
}


def write(
    out: Path, report: Json, scores: pd.DataFrame, trials: pd.DataFrame, gallery: Gallery
) -> None:
    """Write `report.html`, `report.md`, `report.json`, `scores.parquet` and `trials.parquet`.

    Equal inputs give equal bytes. Each file is written under another name and renamed, the page
    last: where there is a page, the rest is there too. Numbers that are not finite become null.

    Args:
        out: the folder; made if it is missing.
        report: as docs of `report.json` say, and what the page needs beside it. What is absent is
            said to be absent.
        scores: one row an example: `id`, `memorization`, `standard_error`, one column a proxy,
            `label`, `true_label`, `subset`.
        trials: one row a trial: `search`, `trial`, `status`, `objective`, `tow`, `mia_gap`, `cost`,
            `seconds`, `plan`. Searches by other references are named "V4 surrogate".
        gallery: pictures of examples.
    """
    report = plain(report)
    shown, judged = complete(printable(report)), alike(trials)
    files = {
        "scores.parquet": scores.to_parquet(None, index=False),
        "trials.parquet": trials.to_parquet(None, index=False),
        "report.json": (json.dumps(report, indent=2, allow_nan=False) + "\n").encode(),
        "report.md": markdown.render(shown, judged).encode(),
        "report.html": html.render(shown, scores, judged, gallery).encode(),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_bytes(out / name, content)


def complete(report: Json) -> Json:
    """Return the report with every part that the page speaks of, empty where it is missing.

    Comparisons get the labels that rows have everywhere else.
    """
    parts = {key: report.get(key) or empty for key, empty in _DEFAULTS.items()}
    parts["experiment"] = _DEFAULTS["experiment"] | parts["experiment"]
    names = {_key(row): label(row) for row in parts["rows"]}
    parts["comparisons"] = [
        {**claim, **{side: names.get(claim[side], claim[side]) for side in ("a", "b")}}
        for claim in parts["comparisons"]
    ]
    return report | parts


def _key(row: Json) -> str:
    """Return the name by which a comparison in report.json may refer to a row."""
    if row["method"] == "rum":
        return f"rum ({row.get('source')})"
    return " ".join(filter(None, (row["method"], row.get("unlearner"))))
