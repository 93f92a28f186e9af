"""Other attacks: a table of their gaps, and their order of the methods."""

from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.evaluation import ATTACKS
from rum_ray.evaluation.statistics import kendall
from rum_ray.report.blocks import Paragraph, Section, Table, text_table
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import contestants, find, metric
from rum_ray.report.text import (
    OBJECTIVE,
    finite,
    format_count,
    format_metric,
    format_number,
    join_words,
    label,
)
from rum_ray.results.report import Report
from rum_ray.results.schema import Metric, Row

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
        tau: Kendall's tau of its order with that of ToW - MIA gap, in [-1, 1].
        mover: the method whose place changes most.
        before: its place by ToW - MIA gap, from 1.
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
    rows = report.summary.rows
    if not contestants(rows):
        return None
    missing = not_measured(rows)
    notes = (Paragraph(missing, "note"),) if missing else ()
    return Section("attacks", "Other attacks", (gaps(rows), *notes))


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Return the title of each metric of the table: attacks, plug-ins included, then distances."""
    found = {"mia_gap": "SVM", "auc_gap": "AUC"}
    for name, attack in ATTACKS.items():
        if name not in ("svm", "auc"):
            found[f"{name}_gap"] = attack.title
    gap_names = dict.fromkeys(n for row in rows for n in row.metrics if n.endswith("_gap"))
    for name in gap_names:
        attack_name = name.removesuffix("_gap")
        if name not in found:
            found[name] = attack_name.replace("_", " ")
    return {name: title for name, title in found.items() if name not in DISTANCES} | DISTANCES


def gaps(rows: Sequence[Row]) -> Table:
    """Return each method's gaps, the noise floor first; at the end, the agreement of the orders."""
    floor, methods, titles = find(rows, "retrained_again"), contestants(rows), columns(rows)
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
    return text_table("Other attacks", header, cells, title=finding(rows), caption=READING)


def finding(rows: Sequence[Row]) -> str:
    """Return the attack whose order of the methods differs most from that by J."""
    titles = columns(rows)
    orders = [found for name in titles if (found := _order(rows, name, titles[name])) is not None]
    if not orders:
        return "Gaps by other attacks"
    least = min(orders, key=lambda order: order.tau)
    if least.before == least.after:
        return f"Every attack orders the methods as {OBJECTIVE} does"
    return (
        f"{least.attack} orders the methods least like {OBJECTIVE} ({TAU} = "
        f"{format_number(least.tau, 2)}): {least.mover} moves from place {least.before} to "
        f"{least.after} of {format_count(least.total)}"
    )


def not_measured(rows: Sequence[Row]) -> str:
    """Return the metrics that no method has, with the reason; empty if there are none."""
    reasons = []
    for name, title in columns(rows).items():
        why = next((reason for row in rows if (reason := _entry(row, name).reason)), None)
        if why is not None and not any(_known(row, name) for row in rows):
            reasons.append(f"{title} ({why})")
    return f"Not measured: {join_words(reasons)}." if reasons else ""


def _order(rows: Sequence[Row], name: str, title: str) -> Order | None:
    """Return the order by an attack; None for the MIA gap itself, and for few methods."""
    known = [row for row in contestants(rows) if _known(row, name, "objective")]
    if name == "mia_gap" or len(known) < FEWEST:
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
