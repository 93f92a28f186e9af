"""The tables of methods, as text: the headline for the terminal, the results, all metrics."""

from dataclasses import dataclass
from typing import NamedTuple

from rum_ray.report.facts import Table
from rum_ray.report.ranking import (
    REFERENCES,
    contestants,
    find,
    gap,
    mean,
    metric,
    references,
    tied,
)
from rum_ray.report.text import DASH, MINUS, Json, count, interval, label, plain, printable, share


class Headline(NamedTuple):
    """One line of the headline table; every field is text."""

    method: str
    tow: str
    mia_gap: str
    objective: str
    cost: str


HEADLINE_COLUMNS = Headline("method", "ToW", "MIA gap", f"ToW {MINUS} gap", "cost")
ABOVE = ", above the cap"
CAP = (
    "Above the cap: it costs more than the searches let their plans cost, so to compare it with "
    "them is unfair to them."
)
"""What that mark at a cost says."""


@dataclass(frozen=True)
class Bar:
    """An accuracy beside that of the retrained model."""

    subset: str
    value: float | None
    retrained: float | None


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One method in the table of results.

    Attributes:
        kind: its method, as report.json names it.
        mark: `best`, `tied` (not distinguishable from the best), or nothing.
        cost_share: share of one retraining; None where unknown.
    """

    kind: str
    name: str
    mark: str
    objective: str
    tow: str
    mia_gap: str
    auc_gap: str
    test: str
    bars: tuple[Bar, ...]
    cost: str
    cost_share: float | None


def headline(report: Json) -> list[Headline]:
    """Return the headline table: references first, then methods from best to worst.

    The texts may hold names from the configuration; whoever prints them escapes them for the
    medium. Characters that steer a terminal are gone.
    """
    report = printable(plain(report))
    rows = report.get("rows") or []
    return [
        Headline(
            method=label(row),
            tow=interval(metric(row, "tow")),
            mia_gap=interval(metric(row, gap(report))),
            objective=interval(metric(row, "objective")),
            cost=_cost(row, report),
        )
        for row in (*references(rows), *contestants(rows))
    ]


def results(report: Json) -> list[ResultRow]:
    """Return the table of results: references first, then methods from best to worst."""
    rows = report["rows"]
    best, ties = contestants(rows)[:1], tied(rows)
    return [
        ResultRow(
            kind=row["method"],
            name=label(row),
            mark=_mark(row, best, ties),
            objective=interval(metric(row, "objective")),
            tow=interval(metric(row, "tow")),
            mia_gap=interval(metric(row, "mia_gap")),
            auc_gap=interval(metric(row, "auc_gap")),
            test=interval(metric(row, "test_accuracy")),
            bars=_bars(row, report),
            cost=_cost(row, report),
            cost_share=mean(row, "cost"),
        )
        for row in (*references(rows), *contestants(rows))
    ]


def cap_note(rows: list[ResultRow]) -> str:
    """Return what "above the cap" means, if a row is marked so."""
    return CAP if any(row.cost.endswith(ABOVE) for row in rows) else ""


def _mark(row: Json, best: list[Json], ties: list[Json]) -> str:
    if mean(row, "objective") is None:
        return ""
    return "best" if row in best else "tied" if row in ties else ""


def _cost(row: Json, report: Json) -> str:
    """Return what a row costs, and whether that is more than the searches' plans may cost."""
    cost, searches = mean(row, "cost"), report.get("searches") or [{}]
    cap = searches[0].get("max_cost")
    # A mean over seeds that all cost the cap may lie a rounding above it.
    above = None not in (cost, cap) and cost > cap + 1e-9 and row["method"] not in REFERENCES
    return share(metric(row, "cost")) + (ABOVE if above else "")


def _bars(row: Json, report: Json) -> tuple[Bar, ...]:
    retrained = find(report["rows"], "retrained")
    keys = {subset["name"]: f"forget_accuracy_{subset['name']}" for subset in report["subsets"]}
    return tuple(Bar(name, mean(row, key), mean(retrained, key)) for name, key in keys.items())


def metrics(report: Json) -> Table:
    """Return every metric of every row."""
    rows = [*references(report["rows"]), *contestants(report["rows"])]
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    cells = tuple(
        (label(row), _origin(row), *(interval(metric(row, name)) for name in names)) for row in rows
    )
    columns = ("method", "values from", *(name.replace("_", " ") for name in names))
    return Table(columns, cells, frozenset({0, 1}))


def _origin(row: Json) -> str:
    """Return where the hyperparameters of a row come from."""
    if row.get("source") is None:
        return DASH
    trials = f", {count(row['trials'], 'trial')}" if row.get("trials") else ""
    return f"{row['source']}{trials}"
