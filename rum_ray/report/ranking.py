"""Which row comes first, which one is the report's subject, and which cannot be told apart.

Rows are ordered by the objective J = ToW - MIA gap. A row is told apart from the best one by a
paired t-test over seeds, Holm-corrected over the table: the rule for every claim in a report.
"""

from collections.abc import Sequence
from typing import Any

from rum_ray.evaluation.statistics import LEAST_SEEDS, compare, holm
from rum_ray.report.text import Json, label

REFERENCES = ("retrained", "retrained_again")
LEVEL = 0.05


def metric(row: Json | None, name: str) -> Json:
    """Return one metric of a row, empty where there is none."""
    found: Json = ((row or {}).get("metrics") or {}).get(name) or {}
    return found


def mean(row: Json | None, name: str) -> float | None:
    """Return the mean of one metric of a row."""
    value: float | None = metric(row, name).get("mean")
    return value


def gap(report: Json) -> str:
    """Return the metric that the objective subtracts: the gap of the attack that counts."""
    return "auc_gap" if report.get("attack") == "auc" else "mia_gap"


def find(rows: Sequence[Json], method: str) -> Json | None:
    """Return the first row of a method."""
    return next((row for row in rows if row["method"] == method), None)


def _by_objective(row: Json) -> tuple[Any, ...]:
    value = mean(row, "objective")
    return (value is None, -(value or 0.0), label(row))


def references(rows: Sequence[Json]) -> list[Json]:
    """Return the retrained model and the noise floor."""
    return [row for name in REFERENCES for row in rows if row["method"] == name]


def contestants(rows: Sequence[Json]) -> list[Json]:
    """Return all other rows, the best one first."""
    return sorted((row for row in rows if row["method"] not in REFERENCES), key=_by_objective)


def subject(rows: Sequence[Json]) -> Json | None:
    """Return the row that the report is about.

    That is RUM's plan from the main search, else the one from the file, else the best row that
    does something.
    """
    plans = [row for row in rows if row["method"] == "rum"]
    searched = [row for row in plans if row.get("source") == "search"]
    others = [row for row in contestants(rows) if row["method"] != "original"]
    return next(iter([*searched, *plans, *others]), None)


def tied(rows: Sequence[Json]) -> list[Json]:
    """Return the contestants that cannot be told apart from the best one, without that one."""
    ranked = [row for row in contestants(rows) if mean(row, "objective") is not None]
    tests = [(p, row) for row in ranked[1:] if (p := paired_p(ranked[0], row)) is not None]
    corrected = holm([p for p, _ in tests])
    return [row for p, (_, row) in zip(corrected, tests, strict=True) if p >= LEVEL]


def same(claim: Json) -> bool:
    """Return whether the two rows of a comparison were equal on every seed."""
    return claim.get("low") == claim.get("high") == 0


def worse(claim: Json) -> bool:
    """Return whether A is shown to be worse than B, by the test that shows what is better."""
    return None not in (claim.get("high"), claim.get("p_holm")) and (
        claim["high"] < 0 and claim["p_holm"] < LEVEL
    )


def verdict(claim: Json) -> str:
    """Return what a comparison says of "A is better than B", in words."""
    if claim.get("shown"):
        return "shown"
    return "the same" if same(claim) else "worse" if worse(claim) else "not shown"


def paired_p(a: Json, b: Json) -> float | None:
    """Return the two-sided p of a paired t-test over the seeds that two rows share."""
    left, right = _by_seed(a), _by_seed(b)
    shared = [seed for seed in left if seed in right]
    if len(shared) < LEAST_SEEDS:
        return None
    return compare([left[seed] for seed in shared], [right[seed] for seed in shared]).p


def _by_seed(row: Json) -> dict[int, float]:
    values = metric(row, "objective").get("values") or []
    pairs = zip(row.get("seeds") or [], values, strict=False)
    return {seed: value for seed, value in pairs if value is not None}
