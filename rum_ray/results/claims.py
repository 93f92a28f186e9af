"""Claims that one row is better than another, told by every co-primary metric.

The metric that the search maximised decides. The others stand beside it: a claim that one of them
contradicts is not "shown", but "shown by ToW - gap only".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.statistics import LEAST_SEEDS, Comparison, compare, detectable, holm
from rum_ray.experiment import SearchConfig
from rum_ray.results.metrics import by_seed
from rum_ray.results.rows import find_row
from rum_ray.results.schema import Claim, Difference, Regret, Row

Pair: TypeAlias = tuple[str, Row, str, Row]
"""Label and row of A, label and row of B."""

LEVEL = 0.05
REFERENCES = ("retrained", "retrained_again", "retrained_reordered")
"""The rows of models that were trained without the forget set."""
PRIMARY = ("objective_svm", "objective_auc", "tow_examples", "js_forget")
"""The co-primary metrics that every row has."""
PER_EXAMPLE = ("u_lira_gap", "pool_lira_gap", "pool_rmia_gap")
"""Attacks on single examples; a comparison takes the first one that both of its rows have."""
LOWER = frozenset({"js_forget", *PER_EXAMPLE})
"""Metrics that are better when lower."""
ALONE = {"tow_examples": "shown by agreement only"}
"""Verdict on a claim that another metric contradicts, by the metric that decides."""
SHOWN, WORSE, NOT_SHOWN, ONLY = "shown", "worse", "not shown", "shown by ToW - gap only"


@dataclass(frozen=True)
class Deciding:
    """The rule of all claims of a report.

    Attributes:
        metric: the one that the search maximised; it decides.
        repeats: number of forget sets.
    """

    metric: str
    repeats: int = 1

    @classmethod
    def of(cls, search: SearchConfig | None, attack: str, repeats: int = 1) -> "Deciding":
        """Return the rule: by the objective of the search; without one, by the reported attack."""
        if search is None:
            return cls(f"objective_{attack}", repeats)
        metric = "tow_examples" if search.objective == "examples" else f"objective_{search.attack}"
        return cls(metric, repeats)


def claims(pairs: Sequence[Pair], rule: Deciding) -> tuple[Claim, ...]:
    """Return claims "A is better than B", paired by seed; none with fewer than three seeds.

    Pairs of the same two rows are one claim. p-values are corrected by Holm over all claims, in
    each metric for itself. Two names of one row are no claim that could be shown, so they do not
    count in the correction.
    """
    if not pairs or len(pairs[0][1].seeds) < LEAST_SEEDS:
        return ()
    distinct: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        distinct.setdefault((id(pair[1]), id(pair[3])), []).append(pair)
    groups = [*distinct.values()]
    leads = _leads([group[0] for group in groups], rule.metric)
    return tuple(_claim(group, lead, rule) for group, lead in zip(groups, leads, strict=True))


def _claim(group: Sequence[Pair], leads: Sequence[Difference], rule: Deciding) -> Claim:
    """Return the claim of pairs that have the same rows."""
    (a, row, b, other), *_ = group
    first, *others = leads
    against = tuple(lead.metric for lead in others if lead.verdict == WORSE)
    verdict = first.verdict
    if verdict == SHOWN and against:
        verdict = ALONE.get(rule.metric, ONLY)
    return Claim(
        a=a,
        b=b,
        metric=first.metric,
        mean=first.mean,
        low=first.low,
        high=first.high,
        p=first.p,
        p_holm=first.p_holm,
        shown=verdict == SHOWN,
        verdict=verdict,
        against=against,
        by=tuple(leads),
        detectable=detectable(_values(row, rule.metric), _values(other, rule.metric)),
        repeats=rule.repeats,
        also=tuple((a, b) for a, _, b, _ in group[1:]),
    )


def _leads(pairs: Sequence[Pair], metric: str) -> list[list[Difference]]:
    """Return the leads of each pair by every co-primary metric that both of its rows have."""
    found: list[list[Difference]] = [[] for _ in pairs]
    slots = [(metric,), *((name,) for name in PRIMARY if name != metric), PER_EXAMPLE]
    for names in slots:
        chosen = [_common(row, other, names) for _, row, _, other in pairs]
        tests = {
            place: (name, _compare(pairs[place], name))
            for place, name in enumerate(chosen)
            if name is not None
        }
        corrected = _holm({place: test for place, (_, test) in tests.items()}, pairs)
        for place, (name, test) in tests.items():
            p = corrected[place]
            lead = Difference(name, **asdict(test), p_holm=p, verdict=_verdict(test, p))
            found[place].append(lead)
    return found


def _holm(tests: Mapping[int, Comparison], pairs: Sequence[Pair]) -> dict[int, float]:
    """Return the corrected p of each test; that of a row with itself stays 1."""
    real = [place for place in tests if pairs[place][1] is not pairs[place][3]]
    corrected = holm([tests[place].p for place in real])
    return {**dict.fromkeys(tests, 1.0), **dict(zip(real, corrected, strict=True))}


def _verdict(test: Comparison, p: float) -> str:
    """Return the verdict on one metric."""
    if p >= LEVEL:
        return NOT_SHOWN
    return SHOWN if test.low > 0 else WORSE if test.high < 0 else NOT_SHOWN


def _compare(pair: Pair, name: str) -> Comparison:
    """Return the lead of A in one metric."""
    _, row, _, other = pair
    return compare(_values(row, name), _values(other, name))


def _values(row: Row, name: str) -> NDArray[np.float64]:
    """Return a metric by seed, turned so that higher is better."""
    return by_seed(row.metrics[name]) * (-1 if name in LOWER else 1)


def _common(row: Row, other: Row, names: Sequence[str]) -> str | None:
    """Return the first of some metrics that both rows have on every seed."""
    return next((name for name in names if _has(row, name) and _has(other, name)), None)


def _has(row: Row, name: str) -> bool:
    """Return True if a row has a metric on every seed."""
    if name not in row.metrics or len(row.metrics[name].values) != len(row.seeds):
        return False
    return bool(np.isfinite(by_seed(row.metrics[name])).all())


def regret(best: Row, row: Row, rule: Deciding) -> Regret | None:
    """Return the lead of the oracle's row over another one; None with fewer than three seeds."""
    if len(row.seeds) < LEAST_SEEDS:
        return None
    (leads,) = _leads([("", best, "", row)], rule.metric)
    first = leads[0]
    return Regret(first.mean, first.low, first.high, first.p, first.metric, tuple(leads))


def comparisons(rows: Sequence[Row], rule: Deciding) -> tuple[Claim, ...]:
    """Return the claims that the searched plan is better than each competing row."""
    searched = [row for row in rows if row.method == "rum" and row.source == "search"]
    if not searched:
        return ()
    single = find_row(rows, "best_single")
    best_single = [row for row in rows if row is single and row is not searched[0]]
    # Plans that other references of the search led to have their own comparison: regret.
    others = [
        row
        for row in rows
        if row.source in (None, "search", "file")
        and row is not searched[0]
        and row is not single
        and row.method not in REFERENCES
    ]
    first, *rest = [*searched, *best_single, *others]
    return claims([(row_label(first), first, row_label(other), other) for other in rest], rule)


def variants(rows: Sequence[Row], rule: Deciding) -> tuple[Claim, ...]:
    """Return the claims that RUM^F is better than vanilla, for unlearners with both tuned alike."""
    pairs = [(a, b) for a, b in _refined(rows) if a.untuned == b.untuned]
    return claims([(row_label(a), a, row_label(b), b) for a, b in pairs], rule)


def unequal(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of RUM^F that have no claim: of them and vanilla, one alone is tuned."""
    return [a for a, b in _refined(rows) if a.untuned != b.untuned]


def _refined(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return RUM^F and vanilla of each unlearner of `compare`."""
    vanilla = {row.unlearner: row for row in rows if row.method == "vanilla"}
    refined = [row for row in rows if row.method == "rum_f" and row.unlearner in vanilla]
    return [(row, vanilla[row.unlearner]) for row in refined]


def row_label(row: Row) -> str:
    """Return the name of a row in claims."""
    if row.method == "rum":
        return f"rum ({row.source})"
    return f"{row.method} {row.unlearner}" if row.unlearner else row.method
