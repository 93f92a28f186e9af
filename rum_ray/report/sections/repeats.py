"""The repeats of a study: a table that leads to the report of each."""

from rum_ray.report.blocks import Cell, Column, Section, Table, TableRow
from rum_ray.report.gallery import Gallery
from rum_ray.report.text import (
    format_count,
    format_number,
    format_percent,
    format_plan,
    objective_title,
)
from rum_ray.results.report import Report
from rum_ray.results.schema import RepeatSummary

READING = (
    "Each repeat is a whole study with a split, a pool, a forget set, a search and seeds of its "
    "own; its report is in the folder of its name. Forgotten: size of the forget set. Split-half: "
    "reliability of the scores. Originals on R: accuracy of the originals on the retain set. "
    "{objective} and accuracies are means over the seeds of the repeat."
)


def section(report: Report, _: Gallery) -> Section:
    """Return the table of the repeats."""
    repeats, objective = report.summary.repeats, objective_title(report.summary.attack)
    columns = (
        Column("repeat", words=True),
        *map(Column, ("forgotten", "split-half", "originals on R", objective)),
        Column("plan", words=True),
        Column("seeds", words=True),
    )
    title = finding([each.objective for each in repeats], objective)
    rows, reading = tuple(map(_row, repeats)), READING.format(objective=objective)
    return Section("repeats", "The repeats", (Table("Repeats", columns, rows, title, reading),))


def finding(values: list[float | None], objective: str) -> str:
    """Return the range of the plans over the repeats.

    Args:
        values: J of each repeat.
        objective: name of J.
    """
    known = [value for value in values if value is not None]
    if not known:
        return "No repeat has a plan"
    low, high = format_number(min(known)), format_number(max(known))
    return f"The plans of the repeats reach {low} to {high} in {objective}"


def _row(repeat: RepeatSummary) -> TableRow:
    """Return the row of one repeat."""
    name = f"repeat{repeat.number}"
    texts = (
        format_count(repeat.forget),
        format_number(repeat.split_half),
        format_percent(repeat.retain_accuracy),
        format_number(repeat.objective),
        format_plan(repeat.plan),
        ", ".join(map(str, repeat.seeds)),
    )
    return TableRow((Cell(name, link=f"{name}/report.html"), *map(Cell, texts)))
