"""Render the tables of docs/findings.md, each between its two marks.

Numbers come from the reports in experiments/results. Means and intervals are over five repeats.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rum_ray.report.text import (
    format_count,
    format_interval,
    format_metric,
    format_number,
    objective_title,
)
from rum_ray.results.schema import Claim, Metric, Row, Summary

PAGE = Path(__file__).parent / "findings.md"
RESULTS = PAGE.parents[1] / "experiments" / "results"
CAPS = {
    "cap 0.2": "cifar10_claims",
    "cap 0.5": "cifar10_claims_half",
    "cap 0.5, for agreement": "cifar10_claims_examples",
}
"""Reports of the claims preset by the setting of their searches."""
J_AUC, J_SVM = map(objective_title, ("auc", "svm"))
SUBSETS = ("low", "medium", "high")


def summary(name: str) -> Summary:
    """Return a committed report."""
    return Summary.from_json(json.loads((RESULTS / f"{name}.json").read_text("utf-8")))


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is on the left."""
    drawn = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, drawn, *rows))


def found_row(of: Summary, method: str, unlearner: str | None = None) -> Row:
    """Return a row by its method; those of single unlearners by their unlearner, too."""
    named = (row for row in of.rows if row.method == method)
    return next(row for row in named if unlearner in (None, row.unlearner))


def against(of: Summary, rival: str) -> Claim:
    """Return the comparison of the searched plan with another row."""
    (first, *_) = (c for c in of.comparisons if c.a.startswith("rum ") and c.b.startswith(rival))
    return first


def single() -> str:
    """Return the searched plan beside the best single unlearner, by setting."""
    rows = []
    for title, name in CAPS.items():
        of = summary(name)
        rum, best = found_row(of, "rum"), found_row(of, "best_single")
        compared, bill = against(of, "best_single"), of.bill
        assert bill is not None
        rows.append(
            [
                title,
                *(format_metric(row.metrics[of.decides]) for row in (rum, best)),
                f"{format_number(compared.mean)} {format_interval(compared.low, compared.high)}",
                format_number(compared.detectable),
                f"{format_number(bill.total, 0)}, {format_count(bill.break_even)}",
            ]
        )
    header = ("search", "RUM", "best single", "difference", "detectable", "bill, break-even")
    return grid(header, rows)


def hidden() -> str:
    """Return the metrics that the objective does not see, at cap 0.5."""
    half, agreed = summary(CAPS["cap 0.5"]), summary(CAPS["cap 0.5, for agreement"])
    titles = {
        "retrained again": found_row(half, "retrained_again"),
        f"RUM, searched by {J_AUC}": found_row(half, "rum"),
        f"best single, searched by {J_AUC}": found_row(half, "best_single"),
        "RUM^F of SalUn": found_row(half, "rum_f", "salun"),
        "RUM, searched by agreement": found_row(agreed, "rum"),
        "doing nothing": found_row(half, "original"),
    }
    names = ("objective_auc", "pool_lira", "tow_examples", "disagreement_forget", "test_accuracy")
    rows = [
        [title, *(format_metric(row.metrics[name]) for name in names)]
        for title, row in titles.items()
    ]
    header = ("method", J_AUC, "pool LiRA, AUC", "example-level ToW")
    return grid((*header, "other predictions on S", "test accuracy"), rows)


def subsets() -> str:
    """Return the AUC gap by subset, at cap 0.5."""
    of = summary(CAPS["cap 0.5"])
    titles = {
        "retrained again": found_row(of, "retrained_again"),
        "doing nothing": found_row(of, "original"),
        "best single": found_row(of, "best_single"),
        "RUM, searched": found_row(of, "rum"),
        "SalUn on the whole set": found_row(of, "vanilla", "salun"),
        "RUM^F of SalUn": found_row(of, "rum_f", "salun"),
        "RUM^F of NegGrad+": found_row(of, "rum_f", "neggrad+"),
    }
    rows = [
        [title, *(format_metric(row.metrics[f"auc_gap_{subset}"]) for subset in SUBSETS)]
        for title, row in titles.items()
    ]
    return grid(("method", *(f"AUC gap, {subset}" for subset in SUBSETS)), rows)


def auto() -> str:
    """Return the plan `auto` beside the searched plan and others."""
    found = json.loads((RESULTS / "deletions.json").read_text("utf-8"))["plans"]
    rows = [
        [
            title,
            *(
                format_metric(Metric(**plan[name]))
                for name in ("auc", "svm", "tow_examples", "cost")
            ),
        ]
        for title, plan in sorted(found.items(), key=lambda each: -each[1]["auc"]["mean"])
    ]
    return grid(("plan", J_AUC, J_SVM, "example-level ToW", "cost"), rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "single": single,
    "hidden": hidden,
    "subsets": subsets,
    "auto": auto,
}


def render() -> dict[str, str]:
    """Return the page with its tables."""
    text = PAGE.read_text("utf-8")
    for name, table in TABLES.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table()}\n\n{end}{rest.partition(end)[2]}"
    return {PAGE.name: text}
