"""Several studies on one page: the figures of their levels, and one table of their methods."""

from collections.abc import Sequence

from rum_ray.evaluation.statistics import LEAST_SEEDS
from rum_ray.report.blocks import Block, Cell, Column, Figure, Paragraph, Section, Table, TableRow
from rum_ray.report.figures.levels import LEVELS, Line, Panel
from rum_ray.report.figures.levels import levels as draw_levels
from rum_ray.report.figures.style import draw
from rum_ray.report.ranking import mean, metric
from rum_ray.report.text import (
    DASH,
    METRICS,
    finite,
    format_count,
    format_interval,
    format_metric,
    format_number,
    format_share,
    join_words,
    label,
    printable,
    unit,
    unlearner_title,
)
from rum_ray.results.claims import LEVEL
from rum_ray.results.compared import Entry, compared, objective_of
from rum_ray.results.schema import Row, Summary

FIGURES = {"tow": "ToW", "tow_mia": "ToW-MIA", "tow_examples": METRICS["tow_examples"]}
"""Metrics that are drawn by level."""
CONTEXT = {"original": "doing nothing", "retrained_again": "noise floor"}


def sections(summaries: Sequence[Summary]) -> tuple[Section, ...]:
    """Return the page of several studies on the same data, with control characters removed."""
    shown = [printable(summary) for summary in summaries]
    panels = [figure for name in FIGURES if (figure := _figure(shown, name)) is not None]
    found = [_head(shown), Section("methods", "The methods", (table(shown),))]
    if panels:
        found.insert(1, Section("levels", "By level of difficulty", tuple(panels)))
    return tuple(found)


def _head(summaries: Sequence[Summary]) -> Section:
    """Return the title, and the studies in words."""
    data, names = summaries[0].data, [*short_names(summaries).values()]
    title = f"{len(names)} studies of {data.name}"
    told = (
        f"The studies {join_words(names)} have the same {format_count(data.train)} training and "
        f"{format_count(data.test)} test examples."
    )
    blocks: tuple[Block, ...] = (Paragraph(told, "lead"), Paragraph(_forgotten(summaries)))
    return Section("top", title, blocks, "Studies compared · unlearning with RUM")


def _forgotten(summaries: Sequence[Summary]) -> str:
    """Return the forget set of each study."""
    if len({(s.forget.size, s.forget.pick, _kind(s)) for s in summaries}) == 1:
        return f"All of them forget {format_count(summaries[0].forget.size)} examples."
    names = short_names(summaries)
    parts = [
        f"{names[s.experiment.name]}: {format_count(s.forget.size)}, {s.forget.pick}"
        + (f" by {_kind(s)}" if s.forget.by else "")
        for s in summaries
    ]
    return f"Forgotten examples: {'; '.join(parts)}."


def short_names(summaries: Sequence[Summary]) -> dict[str, str]:
    """Return the names of studies without the words that all of them have, if any are left."""
    names = [summary.experiment.name for summary in summaries]
    shared = set.intersection(*({*name.split("-")} for name in names))
    short = ["-".join(word for word in name.split("-") if word not in shared) for name in names]
    is_clear = all(short) and len({*short}) == len(names)
    return dict(zip(names, short if is_clear else names, strict=True))


def _kind(summary: Summary) -> str:
    """Return the value that the forget set was chosen by."""
    return "entanglement" if summary.forget.by == "entanglement" else summary.scores.name


def table(summaries: Sequence[Summary]) -> Table:
    """Return the methods, each in every study that has it."""
    objective, gap = objective_of(summaries)
    title = METRICS["objective_auc" if gap == "auc_gap" else "objective_svm"]
    names, groups = short_names(summaries), compared(summaries)
    first = names[summaries[0].experiment.name]
    columns = (
        Column("method", words=True),
        Column("study", words=True),
        *map(Column, (title, "ToW", "AUC gap" if gap == "auc_gap" else "MIA gap")),
        Column("cost"),
        Column(f"lead over {first}"),
    )
    rows = tuple(
        _row(entry, names[entry.study], objective, gap, number)
        for number, group in enumerate(groups)
        for entry in group
    )
    nouns = join_words(sorted({f"{unit(summary)}s" for summary in summaries}))
    caption = (
        f"Mean ± half of the 95 % interval over {nouns}. Lead: the difference in "
        f"{title} to the same method in {first}, with its 95 % interval, paired by "
        f"{nouns} that both studies have; {DASH} with fewer than {LEAST_SEEDS} of them. Shown: "
        "p < 0.05 in a paired t-test, Holm-corrected over the table. Cost: share of one retraining."
    )
    return Table("Methods of all studies", columns, rows, finding(groups, first), caption)


def finding(groups: Sequence[Sequence[Entry]], first: str) -> str:
    """Return the number of methods that differ from the first study."""
    tests = [entry for group in groups for entry in group if entry.lead is not None]
    if not tests:
        return f"No method has {LEAST_SEEDS} seeds in common with {first}"
    shown = sum(_is_shown(entry) for entry in tests)
    return f"{shown} of {format_count(len(tests), 'difference')} from {first} are shown"


def _is_shown(entry: Entry) -> bool:
    """Return True if a method differs from the first study."""
    return entry.p is not None and entry.p < LEVEL


def _row(entry: Entry, study: str, objective: str, gap: str, number: int) -> TableRow:
    """Return the row of a method in one study; `study` is its short name."""
    row, lead = entry.row, entry.lead
    told = DASH
    if lead is not None:
        told = f"{format_number(lead.mean, sign=True)} {format_interval(lead.low, lead.high)}"
    cells = (
        Cell(label(row)),
        Cell(study),
        *(Cell(format_metric(metric(row, name))) for name in (objective, "tow", gap)),
        Cell(format_share(metric(row, "cost"))),
        Cell(told, tag="shown" if _is_shown(entry) else ""),
    )
    return TableRow(cells, "rum" if row.method == "rum" else "", group=number)


def _figure(summaries: Sequence[Summary], name: str) -> Figure | None:
    """Return the figure of a metric by level; None if the studies are no levels."""
    kinds = dict.fromkeys(_kind(s) for s in summaries if s.forget.pick in LEVELS)
    panels = [panel for kind in kinds if (panel := _panel(summaries, kind, name)) is not None]
    if not panels:
        return None
    title = _fall(panels, FIGURES[name])
    noun, count = unit(summaries[0]), max(len(row.seeds) for row in summaries[0].rows)
    caption = (
        "Each line is an unlearner on the whole forget set; bars are 95 % intervals over "
        f"{noun}s. 1 is a retrained model. n = {format_count(count, noun)} per level."
    )
    svg = draw(f"levels-{name}", title, lambda: draw_levels(panels, FIGURES[name]))
    return Figure(f"levels-{name}", title, caption, svg)


def _panel(summaries: Sequence[Summary], kind: str, name: str) -> Panel | None:
    """Return the lines of one kind of level; None with fewer than two levels."""
    of_kind = {s.forget.pick: s for s in summaries if _kind(s) == kind}
    by_level = {pick: of_kind[pick] for pick in LEVELS if pick in of_kind}
    found: dict[str, list[tuple[int, float, float]]] = {}
    for pick, summary in by_level.items():
        for row in summary.rows:
            value = mean(row, name)
            if value is not None and (title := _line(row)):
                point = LEVELS.index(pick), value, finite(metric(row, name).ci95) or 0.0
                found.setdefault(title, []).append(point)
    if len(by_level) < 2 or not found:
        return None
    lines = (Line(title, tuple(p), title in CONTEXT.values()) for title, p in found.items())
    return Panel(kind, tuple(sorted(lines, key=lambda line: line.is_context)))


def _line(row: Row) -> str:
    """Return the name of a row's line; empty if it has none."""
    return (
        unlearner_title(row.unlearner) if row.method == "vanilla" else CONTEXT.get(row.method, "")
    )


def _fall(panels: Sequence[Panel], title: str) -> str:
    """Return the number of unlearners whose metric is lower at the highest level."""
    told = []
    for panel in panels:
        lines = [line for line in panel.lines if not line.is_context and len(line.points) > 1]
        fallen = sum(line.points[-1][1] < line.points[0][1] for line in lines)
        told.append(f"{fallen} of {format_count(len(lines), 'unlearner')} by {panel.title}")
    return f"The mean of {title} falls from the lowest level to the highest for {join_words(told)}"
