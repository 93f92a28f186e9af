"""The result: ToW against MIA gap, and the table of methods."""

from collections.abc import Sequence

from rum_ray.evaluation.statistics import LEAST_SEEDS
from rum_ray.report.blocks import (
    Bar,
    Bars,
    Block,
    Cell,
    Column,
    Figure,
    Paragraph,
    Section,
    Share,
    Table,
    TableRow,
    text_table,
)
from rum_ray.report.figures.result import result as draw_result
from rum_ray.report.figures.style import draw
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import (
    contestants,
    find,
    gap_name,
    mean,
    measured,
    metric,
    references,
    subject,
    tied,
)
from rum_ray.report.sections.headline import distance
from rum_ray.report.text import (
    DASH,
    METRICS,
    MINUS,
    finite,
    format_count,
    format_metric,
    format_number,
    format_share,
    label,
    objective_title,
    unit,
)
from rum_ray.results.claims import REFERENCES
from rum_ray.results.report import Report
from rum_ray.results.rows import LEAST_TRIALS
from rum_ray.results.schema import Row, SearchSummary, Summary

UNTUNED = ", untuned"
ABOVE = ", above the cap"
NO_FIGURE = "No method has a result, so there is no figure."


def section(report: Report, _: Gallery) -> Section:
    """Return the figure of the result and the table of methods."""
    summary = report.summary
    blocks: list[Block] = [_figure(summary) or Paragraph(NO_FIGURE, "note")]
    if summary.rows:
        blocks.append(results(summary))
    return Section("result", "The result", tuple(blocks))


def _figure(summary: Summary) -> Figure | None:
    """Return the figure of the result."""
    rows, gap, noun = summary.rows, gap_name(summary.attack), unit(summary)
    known = [row for row in rows if None not in (mean(row, "tow"), mean(row, gap))]
    if not [row for row in known if row.method != "retrained"]:
        return None
    row = subject(rows)
    title = "No method has a result" if row is None else f"{label(row)} {distance(rows, row, noun)}"
    seeds = max(len(row.seeds) for row in known)
    caption = (
        f"Each mark is a method; bars are 95 % intervals over {noun}s. The upper left is best. "
        "Retraining a second time, from other initial weights, is the noise floor: the shaded "
        "corner is better than that, and no method belongs there. A line joins the variants of one "
        "unlearner: ● vanilla (the whole forget set at once), ▲ shuffle (in random parts), "
        f"■ RUM^F (in parts by score). {_star(rows)}n = {format_count(seeds, noun)}, "
        f"{format_count(summary.forget.size)} forgotten examples, "
        f"{format_count(summary.data.test)} test examples."
    )
    svg = draw("result", title, lambda: draw_result(rows, gap))
    return Figure("result", title, caption, svg)


def _star(rows: Sequence[Row]) -> str:
    """Return the meaning of the stars."""
    row = subject(rows)
    if row is None or row.method != "rum":
        return ""
    picked = "that was picked" if row.source == "search" else "of the file"
    return f"The large ★ is the plan {picked}. "


def finding(rows: Sequence[Row], attack: str, noun: str = "seed") -> str:
    """Return the best method, and the number of others that differ from it significantly.

    Args:
        rows: of the report.
        attack: the one that J is measured by.
        noun: "seed" or "repeat"; a row has a value for each.
    """
    ranked = measured(rows)
    if not ranked:
        return "No method has a result"
    name, best = label(ranked[0]), format_metric(metric(ranked[0], "objective"))
    first = f"{name[:1].upper()}{name[1:]} has the best {objective_title(attack)}, {best}"
    seeds = len(ranked[0].seeds)
    if seeds < LEAST_SEEDS:
        return f"{first}; {format_count(seeds, noun)} cannot show a difference between methods"
    ties, others = len(tied(rows)), len(ranked) - 1
    if ties == 0:
        return f"{first}; all {others} others differ from it significantly"
    return f"{first}; {ties} of the {others} others do not differ from it significantly"


def results(summary: Summary) -> Table:
    """Return the table of methods: references first, then methods from best to worst."""
    subsets = [subset.name for subset in summary.subsets]
    drawn = (Column(f"forget accuracy: {', '.join(subsets)}", medium="page"),) if subsets else ()
    columns = (
        Column("method", words=True),
        *map(Column, (METRICS["objective_svm"], METRICS["objective_auc"], "ToW", "MIA gap")),
        Column("AUC gap", medium="text"),
        Column("worst seed"),
        Column("test accuracy", medium="text"),
        *(Column(f"forget accuracy, {name}", medium="text") for name in subsets),
        *drawn,
        Column("cost"),
    )
    rows, marks = [*references(summary.rows), *contestants(summary.rows)], _marks(summary.rows)
    cells = [_result(row, summary, subsets, marks[place]) for place, row in enumerate(rows)]
    seeds, ours = max(len(row.seeds) for row in rows), objective_title(summary.attack)
    noun = unit(summary)
    caption = (
        f"Mean ± half of the 95 % interval over {format_count(seeds, noun)}; methods from best "
        f"to worst by {ours}. ≈ best: a paired test over {noun}s, Holm-corrected over the "
        "table, shows no difference from the best. Worst seed: the lowest "
        f"{ours}; a seed collapsed if it is below half of the mean. Untuned: chosen from "
        f"fewer than {LEAST_TRIALS} plans. Cost: share of one retraining. {cap_note(summary)}"
        "MIA gap: SVM attack. AUC gap: AUC attack, which ranks examples by "
        "their logit."
    )
    legend = (
        "Bars: accuracy on each subset of the forget set, from 0 to 1, with a stroke at the "
        "retrained model's; nearer to it, on either side, is better."
    )
    title = finding(summary.rows, summary.attack, noun)
    return Table("Results", columns, tuple(cells), title, caption, legend, "results")


def _result(row: Row, summary: Summary, subsets: Sequence[str], mark: str) -> TableRow:
    """Return the row of one method."""
    names = [f"forget_accuracy_{name}" for name in subsets]
    retrained = find(summary.rows, "retrained")
    bars = tuple(
        Bar(subset, mean(row, name), mean(retrained, name))
        for subset, name in zip(subsets, names, strict=True)
    )
    shown = ("objective_svm", "objective_auc", "tow", "mia_gap", "auc_gap")
    found = {**dict.fromkeys(shown[:1], metric(row, "objective")), **row.metrics}
    cells = (
        Cell(label(row) + (UNTUNED if row.untuned else ""), mark),
        *(Cell(format_metric(found.get(name))) for name in shown),
        Cell(_worst(row)),
        Cell(format_metric(metric(row, "test_accuracy"))),
        *(Cell(format_number(bar.value)) for bar in bars),
        *((Cell(drawing=Bars(bars)),) if bars else ()),
        Cell(_cost(row, summary.searches), drawing=Share(min(mean(row, "cost") or 0.0, 1.0))),
    )
    if row.method == "rum":
        return TableRow(cells, "rum best" if mark == "best" else "rum", group=1)
    return TableRow(cells, "best" if mark == "best" else "", group=row.method not in REFERENCES)


def _worst(row: Row) -> str:
    """Return the lowest J of a seed, and the number of seeds that collapsed."""
    seeds = f" ({row.collapsed} collapsed)" if row.collapsed else ""
    return format_number(row.worst) + seeds


def _marks(rows: Sequence[Row]) -> list[str]:
    """Return the mark of each row, in the order of the table."""
    names = {
        "retrained": "reference",
        "retrained_again": "noise floor",
        "retrained_reordered": "second floor",
    }
    best, ties = measured(rows)[:1], tied(rows)
    marks = [
        "best" if row in best else "≈ best" if row in ties else "" for row in contestants(rows)
    ]
    return [*(names[row.method] for row in references(rows)), *marks]


def _cost(row: Row, searches: Sequence[SearchSummary]) -> str:
    """Return the cost of a row, and a mark if it is above the cap of the searches."""
    cost, cap = mean(row, "cost"), finite(searches[0].max_cost) if searches else None
    # A mean over seeds that all cost the cap may lie a rounding above it.
    above = (
        cost is not None and cap is not None and cost > cap + 1e-9 and row.method not in REFERENCES
    )
    return format_share(metric(row, "cost")) + (ABOVE if above else "")


def cap_note(summary: Summary) -> str:
    """Return the meaning of "above the cap", if a row is marked so."""
    if not any(_cost(row, summary.searches).endswith(ABOVE) for row in summary.rows):
        return ""
    return (
        "Above the cap: it costs more than the searches allow their plans, so a comparison with "
        "these plans is unfair to them. "
    )


def headline(
    rows: Sequence[Row], attack: str, searches: Sequence[SearchSummary] = (), name: str = ""
) -> Table:
    """Return the table for the terminal: references first, then methods from best to worst."""
    columns = ("method", "ToW", "MIA gap", f"ToW {MINUS} gap", "cost", "worst seed")
    cells = [
        (
            label(row) + (UNTUNED if row.untuned else ""),
            *(format_metric(metric(row, each)) for each in ("tow", gap_name(attack), "objective")),
            _cost(row, searches),
            _worst(row),
        )
        for row in (*references(rows), *contestants(rows))
    ]
    return text_table(f"{name}: best first" if name else "best first", columns, cells)


def all_metrics(rows: Sequence[Row]) -> Table:
    """Return every metric of every row."""
    shown = [*references(rows), *contestants(rows)]
    names = list(dict.fromkeys(name for row in shown for name in row.metrics))
    cells = [
        (label(row), _origin(row), *(format_metric(metric(row, name)) for name in names))
        for row in shown
    ]
    columns = ("method", "hyperparameters from", *(name.replace("_", " ") for name in names))
    return text_table("All metrics", columns, cells, words=(0, 1), style="metrics")


def _origin(row: Row) -> str:
    """Return the source of a row's hyperparameters."""
    trials = f", {format_count(row.trials, 'trial')}" if row.trials else ""
    return f"{row.source or DASH}{trials}"
