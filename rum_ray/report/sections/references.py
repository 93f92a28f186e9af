"""The references of the search: the loss from tuning without models retrained without S."""

from collections.abc import Sequence

from rum_ray.report.blocks import Section, Table, text_table
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import is_same
from rum_ray.report.text import (
    DASH,
    KNOWLEDGE,
    format_count,
    format_interval,
    format_metric,
    format_number,
    format_p,
    metric_title,
    objective_title,
)
from rum_ray.results.claims import LEVEL
from rum_ray.results.report import Report
from rum_ray.results.schema import ReferenceSummary, Regret

READING = (
    "Main: the search that the rest of this report is about. Trainings: the models trained for the "
    "reference, in trainings of the original. Regret: the loss of the plan against the oracle's on "
    "test data, paired; lower is better. The oracle uses models retrained without the "
    "forget set. With those models at hand, unlearning would be unnecessary; treat it as an upper "
    "bound. The surrogate can be deployed: it is tuned on a matched set of examples that stay, and "
    "its plan is applied to the forget set unchanged. The pool needs no retraining; its expected "
    "accuracies are too low in absolute terms, but they rank plans."
)


def section(report: Report, _: Gallery) -> Section | None:
    """Return the table of references and its finding."""
    entries = report.summary.references
    if not entries:
        return None
    return Section(
        "references", "The reference of the search", (references(entries, report.summary.attack),)
    )


def references(entries: Sequence[ReferenceSummary], attack: str) -> Table:
    """Return the worth of each reference's plan, by an attack, and the cost of the reference."""
    objective = objective_title(attack)
    decides = next((metric_title(e.regret.metric) for e in entries if e.regret), objective)
    columns = (
        *("reference", "knowledge", "trials", "trainings", objective),
        *(f"regret in {decides}", "95 % interval", "p"),
    )
    cells = [
        (
            f"{entry.reference}, main" if entry.main else entry.reference,
            KNOWLEDGE.get(entry.reference, DASH),
            format_count(entry.trials),
            format_count(entry.trainings),
            format_metric(entry.objective),
            *_regret(entry.regret),
        )
        for entry in entries
    ]
    title = finding(entries)
    return text_table(
        "References of the search", columns, cells, words=(0, 1), title=title, caption=READING
    )


def _regret(regret: Regret | None) -> tuple[str, str, str]:
    """Return a regret, its interval and its p."""
    if regret is None:
        return DASH, DASH, DASH
    if is_same(regret):
        return DASH, DASH, "the same plan"
    interval = format_interval(regret.low, regret.high)
    return format_number(regret.mean, sign=True), interval, format_p(regret.p)


def finding(entries: Sequence[ReferenceSummary]) -> str:
    """Return the loss of the deployable plan against the oracle's."""
    known = {entry.reference: entry for entry in entries}
    if "oracle" not in known:
        return "Regret is unknown: no search used the oracle"
    regret = known["surrogate"].regret if "surrogate" in known else None
    if regret is None:
        return f"The plan of the oracle reaches {format_metric(known['oracle'].objective)}"
    if is_same(regret):
        return "The deployable plan, the surrogate's, is the oracle's plan"
    loss = f"{format_number(regret.mean)} {format_interval(regret.low, regret.high)}"
    loss += f" in {metric_title(regret.metric)}"
    if regret.low > 0 and regret.p < LEVEL:
        return f"The deployable plan, the surrogate's, loses {loss} against the oracle's"
    return f"No loss of the deployable plan, the surrogate's, against the oracle's is shown: {loss}"
