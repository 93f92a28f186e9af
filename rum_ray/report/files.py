"""Writing a report: its files, each complete or absent."""

import json
from collections.abc import Sequence
from pathlib import Path

from rum_ray.files import write_bytes
from rum_ray.report.gallery import Gallery
from rum_ray.report.render import html, markdown
from rum_ray.report.sections import compared, sections
from rum_ray.results.report import Report
from rum_ray.results.schema import Summary


def write(out: Path, report: Report, gallery: Gallery | None = None) -> None:
    """Write `report.html`, `report.md`, `report.json`, `scores.parquet` and `trials.parquet`.

    Of a public report, there are no Parquet files: one of them lists the examples. Equal inputs
    give equal bytes. Writes are atomic, and the page is the last: if there is a page, the other
    files are there too. Numbers that are not finite become null in report.json.

    Args:
        out: the folder; created if it is missing.
        report: summary, scores and trials.
        gallery: pictures of examples; None for none.
    """
    shown = sections(report, gallery or Gallery())
    tree = json.dumps(report.summary.to_json(), indent=2, allow_nan=False)
    tables = {"scores.parquet": report.scores, "trials.parquet": report.trials}
    known = {} if report.summary.public else tables
    files = {
        **{name: frame.to_parquet(None, index=False) for name, frame in known.items()},
        "report.json": f"{tree}\n".encode(),
        "report.md": markdown.render(shown).encode(),
        "report.html": html.render(shown).encode(),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_bytes(out / name, content)


def write_compared(out: Path, summaries: Sequence[Summary]) -> Path:
    """Write the page of several studies and its Markdown; return the path of the page.

    Args:
        out: the folder; created if it is missing.
        summaries: of the studies, at least two on the same data.
    """
    shown, page = compared.sections(summaries), out / "compared.html"
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / "compared.md", markdown.render(shown).encode())
    write_bytes(page, html.render(shown).encode())
    return page
