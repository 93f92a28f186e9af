"""Order of the rows, the row that the report is about, and ties.

Rows are ordered by the objective J = ToW - MIA gap. A row differs from the best one if a paired
t-test over seeds says so, Holm-corrected over the table: the rule for every claim of a report.
"""

from collections.abc import Sequence
from typing import Any

from rum_ray.evaluation.statistics import LEAST_SEEDS, compare, holm
from rum_ray.report.text import finite, label
from rum_ray.results.claims import LEVEL, REFERENCES
from rum_ray.results.schema import Claim, Metric, Regret, Row

_UNKNOWN = Metric(None)


def metric(row: Row | None, name: str) -> Metric:
    """Return one metric of a row; one without a mean where there is none."""
    return _UNKNOWN if row is None or name not in row.metrics else row.metrics[name]


def mean(row: Row | None, name: str) -> float | None:
    """Return the mean of one metric of a row; None where it is unknown."""
    return finite(metric(row, name).mean)


def gap_name(attack: str) -> str:
    """Return the metric that the objective subtracts: the gap of the study's attack."""
    return "auc_gap" if attack == "auc" else "mia_gap"


def find(rows: Sequence[Row], method: str) -> Row | None:
    """Return the first row of a method."""
    return next((row for row in rows if row.method == method), None)


def _by_objective(row: Row) -> tuple[Any, ...]:
    value = mean(row, "objective")
    return (value is None, -(value or 0.0), label(row))


def references(rows: Sequence[Row]) -> list[Row]:
    """Return the retrained model and the noise floors."""
    return [row for name in REFERENCES for row in rows if row.method == name]


def contestants(rows: Sequence[Row]) -> list[Row]:
    """Return all other rows, the best one first."""
    return sorted((row for row in rows if row.method not in REFERENCES), key=_by_objective)


def measured(rows: Sequence[Row]) -> list[Row]:
    """Return the contestants with a known objective, the best one first."""
    return [row for row in contestants(rows) if mean(row, "objective") is not None]


def subject(rows: Sequence[Row]) -> Row | None:
    """Return the row that the report is about.

    It is RUM's plan from the main search, else the one from the file, else the best row of a
    method that unlearns.
    """
    plans = [row for row in rows if row.method == "rum"]
    searched = [row for row in plans if row.source == "search"]
    others = [row for row in contestants(rows) if row.method != "original"]
    return next(iter([*searched, *plans, *others]), None)


def tied(rows: Sequence[Row]) -> list[Row]:
    """Return the contestants, except the best one, that do not differ from it significantly."""
    ranked = measured(rows)
    tests = [(p, row) for row in ranked[1:] if (p := paired_p(ranked[0], row)) is not None]
    corrected = holm([p for p, _ in tests])
    return [row for p, (_, row) in zip(corrected, tests, strict=True) if p >= LEVEL]


def is_same(claim: Claim | Regret) -> bool:
    """Return True if the two rows of a comparison are equal on every seed."""
    return claim.low == claim.high == 0


def is_worse(claim: Claim) -> bool:
    """Return True if A is shown to be worse than B, by the test that claims use."""
    if claim.verdict is not None:
        return claim.verdict == "worse"
    return claim.high < 0 and claim.p_holm < LEVEL


def verdict(claim: Claim) -> str:
    """Return the verdict on the claim "A is better than B", in words."""
    if is_same(claim):
        return "the same"
    if claim.verdict is not None:
        return claim.verdict
    return "shown" if claim.shown else "worse" if is_worse(claim) else "not shown"


def paired_p(a: Row, b: Row | None) -> float | None:
    """Return the two-sided p of a paired t-test over the seeds that two rows share.

    None for fewer than three seeds.
    """
    left, right = _by_seed(a), _by_seed(b)
    shared = [seed for seed in left if seed in right]
    if len(shared) < LEAST_SEEDS:
        return None
    return compare([left[seed] for seed in shared], [right[seed] for seed in shared]).p


def _by_seed(row: Row | None) -> dict[int, float]:
    if row is None:
        return {}
    pairs = zip(row.seeds, metric(row, "objective").values, strict=False)
    return {seed: known for seed, value in pairs if (known := finite(value)) is not None}
