"""What other attacks say: a table of their gaps, and whether they order the methods otherwise."""

from dataclasses import dataclass

from rum_ray.evaluation.statistics import kendall
from rum_ray.report.facts import Table
from rum_ray.report.ranking import contestants, find, metric
from rum_ray.report.text import OBJECTIVE, Json, count, interval, label, listed, number

COLUMNS = {
    "mia_gap": "SVM",
    "auc_gap": "AUC",
    "svm_correctness_gap": "SVM, correctness",
    "svm_entropy_gap": "SVM, entropy",
    "svm_modified_entropy_gap": "SVM, modified entropy",
    "svm_probabilities_gap": "SVM, probabilities",
    "threshold_gap": "threshold",
    "pool_lira_gap": "pool LiRA",
    "pool_rmia_gap": "pool RMIA",
    "u_lira_gap": "U-LiRA",
    "relearned_gap": "relearning",
    "residual_forget": "residual",
    "js_forget": "JS divergence",
    "klom_forget": "KLoM",
}
"""What is measured on the forget set; less is nearer to the retrained model."""
READING = (
    "Gaps against the retrained models on the forget set, paired by seed, with half of the 95 % "
    "interval; less is nearer, and less than the noise floor means nothing. Relearning: the gap in "
    "forget accuracy after fine-tuning on the retain set alone. Residual: how differently the "
    "forget set lies in the embeddings, in units of the retain set's spread. JS divergence: of "
    "predictions, in bits. KLoM: of margins over seeds, in nats. Kendall's τ: whether an attack "
    "orders the methods as the paper's two numbers do; 1 is the same order."
)
"""How the table is read."""
TAU = "Kendall's τ"
FEWEST = 3
"""Methods that an order takes."""


@dataclass(frozen=True)
class Order:
    """How an attack orders the methods, beside the paper's two numbers.

    Attributes:
        attack: its title.
        tau: Kendall's tau of its order with that of ToW - MIA gap, in [-1, 1].
        mover: the method that changes its place most.
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


def table(report: Json) -> Table:
    """Return each method's gaps, the noise floor first; below, how ToW and MIA gap agree."""
    floor, rows = find(report["rows"], "retrained_again"), contestants(report["rows"])
    shown = [row for row in (floor, *rows) if row is not None]
    names = [name for name in COLUMNS if any(_known(row, name) for row in shown)]
    cells = [
        (
            label(row) + (", noise floor" if row is floor else ""),
            *(interval(_entry(row, name)) for name in names),
        )
        for row in shown
    ]
    numbers = (("ToW", "tow"), ("MIA gap", "mia_gap"))
    for title, ours in numbers if len(rows) >= FEWEST else ():
        sign = -1 if ours == "tow" else 1
        taus = [_tau(rows, ours, sign, name) for name in names]
        cells.append((f"{TAU} with {title}", *(map(number, taus))))
    return Table(("method", *(COLUMNS[name] for name in names)), tuple(cells) if rows else ())


def finding(report: Json) -> str:
    """Return which attack orders the methods least as the paper's two numbers do."""
    orders = [order for name in COLUMNS if (order := _order(report, name)) is not None]
    if not orders:
        return "What other attacks say"
    least = min(orders, key=lambda order: order.tau)
    if least.before == least.after:
        return f"Every attack orders the methods as {OBJECTIVE} does"
    return (
        f"By {least.attack} the order of the methods differs most from that by {OBJECTIVE} "
        f"({TAU} = {number(least.tau, 2)}): {least.mover} goes from place {least.before} to "
        f"{least.after} of {count(least.total)}"
    )


def absent(report: Json) -> str:
    """Return what could not be measured of any method, and why; empty if there is nothing."""
    reasons = {}
    for name, title in COLUMNS.items():
        entries = [_entry(row, name) for row in report["rows"]]
        why = next((entry["reason"] for entry in entries if entry.get("reason")), None)
        if why is not None and not any(_known(row, name) for row in report["rows"]):
            reasons[title] = why
    told = listed([f"{title} ({why})" for title, why in reasons.items()])
    return f"Not measured: {told}." if told else ""


def _order(report: Json, name: str) -> Order | None:
    """Return how an attack orders the methods; None for the MIA gap itself, and for few methods."""
    rows = [row for row in contestants(report["rows"]) if _known(row, name, "objective")]
    if name == "mia_gap" or len(rows) < FEWEST:
        return None
    tau = _tau(rows, "objective", -1, name)
    if tau is None:
        return None
    after = sorted(rows, key=lambda row: _value(row, name))
    places = {id(row): place for place, row in enumerate(after, 1)}
    moves = [(abs(places[id(row)] - place), -place, row) for place, row in enumerate(rows, 1)]
    _, place, row = max(moves, key=lambda move: move[:2])
    return Order(COLUMNS[name], tau, label(row), -place, places[id(row)], len(rows))


def _tau(rows: list[Json], ours: str, sign: int, theirs: str) -> float | None:
    """Return Kendall's tau of two orders of the rows that have both; None for too few."""
    both = [row for row in rows if _known(row, ours, theirs)]
    if len(both) < FEWEST:
        return None
    return kendall([sign * _value(r, ours) for r in both], [_value(r, theirs) for r in both])


def _known(row: Json, *names: str) -> bool:
    return all(_entry(row, name).get("mean") is not None for name in names)


def _value(row: Json, name: str) -> float:
    value: float = _entry(row, name)["mean"]
    return value


def _entry(row: Json, name: str) -> Json:
    """Return a metric of a row; KLoM, which all seeds make together, lies beside the metrics."""
    if name == "klom_forget":
        found: Json = (row.get("klom") or {}).get("forget") or {}
        return found
    return metric(row, name)
