"""How the report was made: stage times, costs, versions, all metrics, configuration."""

from collections.abc import Sequence
from dataclasses import fields

from rum_ray.report.blocks import (
    Block,
    Cell,
    Chip,
    Code,
    Column,
    Details,
    Pair,
    Paragraph,
    Section,
    Strip,
    Table,
    TableRow,
    text_table,
)
from rum_ray.report.gallery import Gallery
from rum_ray.report.sections.result import all_metrics
from rum_ray.report.text import (
    finite,
    format_count,
    format_duration,
    format_number,
    format_percent,
)
from rum_ray.results.report import Report
from rum_ray.results.schema import Bill, Costs, StageSummary, Summary


def section(report: Report, _: Gallery) -> Section:
    """Return stage times, costs, versions, all metrics, and the configuration."""
    summary = report.summary
    blocks: list[Block] = [Paragraph("No stage times were kept.", "note")]
    if summary.stages:
        shares = tuple(_share(stage, summary.stages) for stage in summary.stages)
        blocks = [Strip(stages_finding(summary.stages), shares), stages(summary.stages)]
    blocks.append(Pair(costs(summary.costs), environment(summary)))
    if summary.bill is not None:
        blocks.append(bill(summary.bill))
    if summary.rows:
        table = all_metrics(summary.rows)
        blocks.append(Details("All metrics of all methods", (table,)))
    config = Code("Configuration", summary.experiment.config)
    blocks.append(Details("Configuration", (config,), is_open=True))
    return Section("making", "How this report was made", tuple(blocks))


def _share(stage: StageSummary, stages: Sequence[StageSummary]) -> float:
    total = sum(each.seconds for each in stages)
    return stage.seconds / total if total else 0.0


def stages_finding(stages: Sequence[StageSummary]) -> str:
    """Return the total time and the longest stage."""
    total, longest = sum(stage.seconds for stage in stages), max(stages, key=lambda s: s.seconds)
    if not total:
        return "No time was measured"
    share = format_percent(longest.seconds / total)
    return f"The study took {format_duration(total)}; {share} of it was spent in {longest.name}"


def stages(stages: Sequence[StageSummary]) -> Table:
    """Return the time and the jobs of each stage."""
    columns = ("stage", "time", "share", "trainings", "made", "reused")
    rows = []
    for number, stage in enumerate(stages, 1):
        share = _share(stage, stages) if any(each.seconds for each in stages) else None
        cells = (
            format_duration(stage.seconds),
            format_percent(share),
            *map(format_count, (stage.trainings, stage.made, stage.reused)),
        )
        rows.append(TableRow((Cell(stage.name, drawing=Chip(number)), *map(Cell, cells))))
    caption = (
        "Trainings: models trained from scratch. Made: jobs done. Reused: jobs with a result in "
        "the store."
    )
    header = tuple(Column(column, words=not place) for place, column in enumerate(columns))
    legend = "The bar is wall time, stage by stage."
    return Table("Stages", header, tuple(rows), caption=caption, legend=legend)


def costs(costs: Costs) -> Table:
    """Return the cost of each part."""
    names = [field.name for field in fields(costs) if field.name != "unit"]
    parts = [(name, float(getattr(costs, name))) for name in names]
    total = sum(finite(value) or 0.0 for _, value in parts)
    cells = [(name, format_number(value, 1)) for name, value in (*parts, ("together", total))]
    return text_table("Costs", ("part", costs.unit), cells, title="Cost", style="compact")


def bill(found: Bill) -> Table:
    """Return the whole cost of the reported plan, and the number of requests that pay for it."""
    names = [field.name for field in fields(found) if field.name != "break_even"]
    cells = [(name.replace("_", " "), format_number(getattr(found, name), 2)) for name in names]
    first = "never" if found.break_even is None else format_count(found.break_even)
    cells.append(("cheaper than retraining from request", first))
    columns = ("part", "trainings of the original")
    caption = (
        "Fixed: the part that many requests share. Per request: the plan, and the references if "
        "they are retrained without the examples of each request. Models that only this report "
        "needs are no part of the bill."
    )
    title = "The bill of the plan"
    return text_table("Bill", columns, cells, title=title, caption=caption, style="compact")


def environment(summary: Summary) -> Table:
    """Return versions, hardware and the digest of the experiment."""
    names = [field.name for field in fields(summary.environment)]
    cells = [(name, str(getattr(summary.environment, name))) for name in names]
    cells.append(("digest", summary.experiment.digest or "left out"))
    name = "Versions and hardware"
    return text_table(name, ("item", "value"), cells, words=(0, 1), title=name)
