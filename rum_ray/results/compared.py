"""Several finished studies beside each other: the same method in each, paired where seeds match."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rum_ray.errors import ConfigError
from rum_ray.evaluation.statistics import LEAST_SEEDS, Comparison, compare, holm
from rum_ray.experiment import Experiment, to_plain
from rum_ray.results.metrics import by_seed
from rum_ray.results.rows import COMPARED
from rum_ray.results.schema import Row, RowName, Summary

Name: TypeAlias = tuple[str, str | None, str | None]
"""Method, unlearner and source; without the source where a search tunes one unlearner."""
LEFT_OUT = ("retrained", "retrained_reordered")
"""Methods whose values are the same in every study, or say nothing about unlearning."""


@dataclass(frozen=True)
class Entry:
    """A method in one study.

    Attributes:
        study: name of the study.
        row: the method.
        lead: of its objective over that of the same method in the first study, paired by seed; None
            in the first study, and with fewer than three seeds in common.
        p: of the lead, corrected over all leads (Holm); None without a lead.
    """

    study: str
    row: Row
    lead: Comparison | None = None
    p: float | None = None


def check_comparable(experiments: Sequence[Experiment]) -> None:
    """Raise ConfigError if studies have one name, or different data."""
    first, *others = experiments
    for place, other in enumerate(others, 1):
        if other.name in [each.name for each in experiments[:place]]:
            raise ConfigError(
                f"report: two of the studies have the name '{other.name}'. Give each study once, "
                "and each a name of its own."
            )
        if other.data != first.data:
            ours, theirs = to_plain(first.data), to_plain(other.data)
            raise ConfigError(
                f"report: '{other.name}' cannot be compared with '{first.name}': its data are "
                f"{theirs}, not {ours}. Compare studies of the same data and split."
            )


def objective_of(summaries: Sequence[Summary]) -> tuple[str, str]:
    """Return the objective and the gap of studies: of their one attack, else of the SVM."""
    attacks = {summary.attack for summary in summaries}
    gap = "auc_gap" if attacks == {"auc"} else "mia_gap"
    return "objective" if len(attacks) == 1 else "objective_svm", gap


def compared(summaries: Sequence[Summary]) -> tuple[tuple[Entry, ...], ...]:
    """Return each method in all studies that have it, in the order of the first one."""
    found: dict[Name, list[Entry]] = {}
    for summary in summaries:
        for name, row in _named(summary.rows).items():
            found.setdefault(name, []).append(Entry(summary.experiment.name, row))
    metric, first = objective_of(summaries)[0], summaries[0]
    same = {s.experiment.name for s in summaries[1:] if bool(s.repeats) == bool(first.repeats)}
    groups = [
        [_with_lead(entry, group[0], metric, same) for entry in group] for group in found.values()
    ]
    tests = iter(holm([entry.lead.p for group in groups for entry in group if entry.lead]))
    return tuple(
        tuple(replace(entry, p=next(tests)) if entry.lead else entry for entry in group)
        for group in groups
    )


def _named(rows: Sequence[Row]) -> dict[Name, Row]:
    """Return the rows that are compared, by each of their names."""
    found: dict[Name, Row] = {}
    for row in rows:
        names: list[Row | RowName] = [row, *row.also]
        for each in names:
            if each.method in LEFT_OUT:
                continue
            is_single = each.method in COMPARED
            name = (
                each.method,
                each.unlearner if is_single else None,
                None if is_single else each.source,
            )
            alone = replace(
                row, method=each.method, unlearner=each.unlearner, source=each.source, also=()
            )
            found.setdefault(name, alone)
    return found


def _with_lead(entry: Entry, first: Entry, metric: str, paired: set[str]) -> Entry:
    """Return an entry with its lead over the first one, if its study is one of `paired`."""
    ours, theirs = _by_seed(entry.row, metric), _by_seed(first.row, metric)
    seeds = [seed for seed in ours if seed in theirs]
    if entry.study not in paired or entry is first or len(seeds) < LEAST_SEEDS:
        return entry
    lead = compare([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return replace(entry, lead=lead)


def _by_seed(row: Row, metric: str) -> dict[int, float]:
    """Return the known values of a metric by seed."""
    values = by_seed(row.metrics[metric]) if metric in row.metrics else ()
    return {seed: float(v) for seed, v in zip(row.seeds, values, strict=False) if v == v}
