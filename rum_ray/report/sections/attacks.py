"""Other attacks: a table of their gaps, and their order of the methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rum_ray.evaluation import ATTACKS
from rum_ray.evaluation.statistics import kendall
from rum_ray.report.blocks import Paragraph, Section, Table, text_table
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import contestants, find, gap_name, metric
from rum_ray.report.text import (
    finite,
    format_count,
    format_metric,
    format_number,
    join_words,
    label,
    objective_title,
)
from rum_ray.results.report import Report
from rum_ray.results.schema import Metric, Row, Summary

DISTANCES = {
    "relearned_gap": "relearning",
    "residual_forget": "residual",
    "js_forget": "JS divergence",
    "klom_forget": "KLoM",
}
"""Other measures on the forget set; less is nearer to the retrained model."""
TAU = "Kendall's τ"
FEWEST = 3
"""An order takes at least so many methods."""
READING = (
    "Gaps to the retrained models on the forget set, paired by seed, with half of the 95 % "
    "interval; less is nearer, and a gap below the noise floor means nothing. Relearning: the gap "
    "in forget accuracy after fine-tuning on the retain set alone. Residual: distance of the "
    "forget set's embeddings, in units of the retain set's spread. JS divergence: of predictions, "
    "in bits. KLoM: of margins over seeds, in nats. Kendall's τ: agreement with the order of the "
    "methods by each of the paper's two numbers; 1 is the same order."
)


@dataclass(frozen=True)
class Order:
    """The order of the methods by an attack, beside that by J.

    Attributes:
        attack: its title.
        tau: Kendall's tau of its order with that of J, in [-1, 1].
        mover: the method whose place changes most.
        before: its place by J, from 1.
        after: its place by the attack.
        total: the methods that have both.
    """

    attack: str
    tau: float
    mover: str
    before: int
    after: int
    total: int


def section(report: Report, _: Gallery) -> Section | None:
    """Return the table of gaps and its finding."""
    rows, titles = report.summary.rows, columns(report.summary)
    if not contestants(rows):
        return None
    missing = not_measured(rows, titles)
    notes = (Paragraph(missing, "note"),) if missing else ()
    return Section("attacks", "Other attacks", (gaps(rows, titles, report.summary.attack), *notes))


def columns(summary: Summary) -> dict[str, str]:
    """Return the title of each metric of the table: attacks, plug-ins included, then distances."""
    titles = {name: attack.title for name, attack in ATTACKS.items()}
    titles |= summary.attack_titles or {}
    found = {"mia_gap": "SVM", "auc_gap": "AUC"}
    found |= {f"{name}_gap": title for name, title in titles.items() if name not in ("svm", "auc")}
    measured = dict.fromkeys(n for row in summary.rows for n in row.metrics if n.endswith("_gap"))
    for name in [name for name in measured if name not in found]:
        found[name] = name.removesuffix("_gap").replace("_", " ")
    return {name: title for name, title in found.items() if name not in DISTANCES} | DISTANCES


def gaps(rows: Sequence[Row], titles: Mapping[str, str], attack: str) -> Table:
    """Return each method's gaps, the noise floor first; at the end, the agreement of the orders.

    Args:
        rows: of the report.
        titles: of the metrics of the table.
        attack: the one that J is measured by.
    """
    floor, methods = find(rows, "retrained_again"), contestants(rows)
    shown = [row for row in (floor, *methods) if row is not None]
    names = [name for name in titles if any(_known(row, name) for row in shown)]
    cells = [
        (
            label(row) + (", noise floor" if row is floor else ""),
            *(format_metric(_entry(row, name)) for name in names),
        )
        for row in shown
    ]
    ours = (("ToW", "tow", -1), ("MIA gap", "mia_gap", 1)) if len(methods) >= FEWEST else ()
    for title, metric_name, sign in ours:
        taus = [_tau(methods, metric_name, sign, name) for name in names]
        cells.append((f"{TAU} with {title}", *map(format_number, taus)))
    header = ("method", *(titles[name] for name in names))
    title = finding(rows, titles, attack)
    return text_table("Other attacks", header, cells, title=title, caption=READING)


def finding(rows: Sequence[Row], titles: Mapping[str, str], attack: str) -> str:
    """Return the attack whose order of the methods differs most from that by J."""
    others, objective = [*titles], objective_title(attack)
    if (own := gap_name(attack)) in titles:
        others.remove(own)
    orders = [found for name in others if (found := _order(rows, name, titles[name])) is not None]
    if not orders:
        return "Gaps by other attacks"
    least = min(orders, key=lambda order: order.tau)
    if least.before == least.after:
        return f"Every attack orders the methods as {objective} does"
    return (
        f"{least.attack} orders the methods least like {objective} ({TAU} = "
        f"{format_number(least.tau, 2)}): {least.mover} moves from place {least.before} to "
        f"{least.after} of {format_count(least.total)}"
    )


def not_measured(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """Return the metrics that no method has, with the reason; empty if there are none."""
    reasons = []
    for name, title in titles.items():
        why = next((reason for row in rows if (reason := _entry(row, name).reason)), None)
        if why is not None and not any(_known(row, name) for row in rows):
            reasons.append(f"{title} ({why})")
    return f"Not measured: {join_words(reasons)}." if reasons else ""


def _order(rows: Sequence[Row], name: str, title: str) -> Order | None:
    """Return the order by an attack; None for few methods."""
    known = [row for row in contestants(rows) if _known(row, name, "objective")]
    if len(known) < FEWEST:
        return None
    tau = _tau(known, "objective", -1, name)
    if tau is None:
        return None
    after = sorted(known, key=lambda row: _value(row, name))
    places = {id(row): place for place, row in enumerate(after, 1)}
    moves = [(abs(places[id(row)] - place), -place, row) for place, row in enumerate(known, 1)]
    _, place, row = max(moves, key=lambda move: move[:2])
    return Order(title, tau, label(row), -place, places[id(row)], len(known))


def _tau(rows: Sequence[Row], ours: str, sign: int, theirs: str) -> float | None:
    """Return Kendall's tau of two orders of the rows that have both; None for too few."""
    both = [row for row in rows if _known(row, ours, theirs)]
    if len(both) < FEWEST:
        return None
    return kendall([sign * _value(r, ours) for r in both], [_value(r, theirs) for r in both])


def _known(row: Row, *names: str) -> bool:
    return all(finite(_entry(row, name).mean) is not None for name in names)


def _value(row: Row, name: str) -> float:
    return _entry(row, name).mean or 0.0


def _entry(row: Row, name: str) -> Metric:
    """Return a metric of a row; KLoM, one number of all seeds together, is not among them."""
    if name != "klom_forget":
        return metric(row, name)
    klom = row.klom.get("forget", None)
    return Metric(None) if klom is None else Metric(klom.mean, reason=klom.reason)
