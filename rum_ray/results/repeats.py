"""One report over the repeats of a study: intervals over forget sets, seeds nested.

A value of a row is the mean over the seeds of one repeat, so a claim is paired by repeat. A row
counts if every repeat has it, under its own name or beside another one.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from rum_ray import config
from rum_ray.evaluation.statistics import LEAST_SEEDS
from rum_ray.experiment import Experiment
from rum_ray.results.claims import Deciding, comparisons, variants
from rum_ray.results.costs import bill_of
from rum_ray.results.metrics import metric_or_reason
from rum_ray.results.report import Report
from rum_ray.results.rows import COMPARED, find_row
from rum_ray.results.schema import (
    Bill,
    Costs,
    ExperimentSummary,
    Metric,
    PlanStep,
    RepeatSummary,
    Row,
    RowName,
    StageSummary,
    Summary,
)
from rum_ray.results.searches import reference_summaries

Name: TypeAlias = tuple[str, str | None, str | None]
"""Method, unlearner and source. The unlearner is None where a search picks it."""


def combined(experiment: Experiment, reports: Sequence[Report]) -> Report:
    """Return the report over repeats; its tables have the number of the repeat first."""
    identity = ExperimentSummary(experiment.name, experiment.digest, config.dump(experiment))
    summary = combine(identity, [report.summary for report in reports])
    scores = _stacked([report.scores for report in reports])
    return Report(summary, scores, _stacked([report.trials for report in reports]))


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables below each other, with the number of each from 1."""
    numbered = [table.assign(repeat=number) for number, table in enumerate(tables, 1)]
    columns = ["repeat", *tables[0].columns]
    return pd.concat(numbered, ignore_index=True)[columns]


def combine(identity: ExperimentSummary, repeats: Sequence[Summary]) -> Summary:
    """Return the summary over repeats.

    Numbers of data, scores, forget set and subsets are means over the repeats. Searches and ladder
    are left to the reports of the repeats.

    Args:
        identity: of the experiment with repeats.
        repeats: a summary of each, at least two.
    """
    first, rows = repeats[0], _rows(repeats)
    rule = Deciding(first.decides, len(repeats))
    references = {
        each.reference: round(_mean([_trainings(s, each.reference) for s in repeats]))
        for each in first.references
    }
    parts = ("environment", "data", "scores", "forget", "subsets", "entanglement")
    return dataclasses.replace(
        first,
        **{name: merged([getattr(summary, name) for summary in repeats]) for name in parts},
        experiment=identity,
        rows=rows,
        comparisons=comparisons(rows, rule),
        searches=(),
        ladder=None,
        references=reference_summaries(references, rows, rule),
        stages=_stages(repeats),
        costs=_costs([summary.costs for summary in repeats]),
        selected_on=tuple(dict.fromkeys(s for summary in repeats for s in summary.selected_on)),
        warnings=_warnings(repeats),
        variants=variants(rows, rule),
        bill=_bill([summary.bill for summary in repeats]),
        repeats=tuple(_repeat(number, summary) for number, summary in enumerate(repeats, 1)),
    )


def _rows(repeats: Sequence[Summary]) -> tuple[Row, ...]:
    """Return the rows that all repeats have."""
    found = [_named(summary.rows) for summary in repeats]
    shared = [name for name in found[0] if all(name in each for each in found)]
    return tuple(_row([each[name] for each in found]) for name in shared)


def _named(rows: Sequence[Row]) -> dict[Name, Row]:
    """Return one row per name."""
    found = {}
    for row in rows:
        names: list[Row | RowName] = [row, *row.also]
        for each in names:
            unlearner = each.unlearner if each.method in COMPARED else None
            found[each.method, unlearner, each.source] = dataclasses.replace(
                row,
                method=each.method,
                unlearner=each.unlearner,
                source=each.source,
                trials=each.trials,
                also=(),
            )
    return found


def _row(rows: Sequence[Row]) -> Row:
    """Return the row of one method; its seeds are the numbers of the repeats."""
    first, plans = rows[0], [row.plan for row in rows]
    names = [name for name in first.metrics if all(name in row.metrics for row in rows)]
    worst, collapsed = [row.worst for row in rows], [row.collapsed for row in rows]
    return dataclasses.replace(
        first,
        unlearner=first.unlearner if len({row.unlearner for row in rows}) == 1 else None,
        trials=merged([row.trials for row in rows]),
        plan=first.plan if all(plan == first.plan for plan in plans) else (),
        seeds=tuple(range(1, len(rows) + 1)),
        metrics={name: over_repeats([row.metrics[name] for row in rows]) for name in names},
        klom=merged([row.klom for row in rows]),
        worst=None if None in worst else min(w for w in worst if w is not None),
        collapsed=None if None in collapsed else sum(c for c in collapsed if c is not None),
        untuned=any(row.untuned for row in rows),
    )


def over_repeats(metrics: Sequence[Metric]) -> Metric:
    """Return the mean over repeats of the means over seeds; a reason if a repeat has none."""
    reasons = sorted({metric.reason for metric in metrics if metric.reason})
    means = [math.nan if metric.mean is None else metric.mean for metric in metrics]
    return metric_or_reason(means, "; ".join(reasons) or "a repeat has no value")


def merged(values: Sequence[Any]) -> Any:
    """Return one value for all repeats: numbers become means, and metrics have an interval.

    A number that a repeat lacks is None. Different texts are listed.
    """
    first = values[0]
    if all(isinstance(value, Metric) for value in values):
        return over_repeats(values)
    if dataclasses.is_dataclass(first) and all(type(value) is type(first) for value in values):
        parts = [field.name for field in dataclasses.fields(first)]
        found = {name: merged([getattr(value, name) for value in values]) for name in parts}
        return dataclasses.replace(first, **found)  # type: ignore[type-var]
    if isinstance(first, Mapping):
        shared = [key for key in first if all(key in value for value in values)]
        return {key: merged([value[key] for value in values]) for key in shared}
    if isinstance(first, tuple) and all(len(value) == len(first) for value in values):
        return tuple(merged(items) for items in zip(*values, strict=True))
    if all(value == first for value in values):
        return first
    if all(isinstance(value, bool) for value in values):
        return all(values)
    if all(isinstance(value, int | float) for value in values):
        mean = _mean(values)
        return round(mean) if all(isinstance(value, int) for value in values) else mean
    texts = {value for value in values if isinstance(value, str)}
    return "; ".join(sorted(texts)) or None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _trainings(summary: Summary, reference: str) -> int:
    """Return the trainings of the models of a reference."""
    return next(each.trainings for each in summary.references if each.reference == reference)


def _stages(repeats: Sequence[Summary]) -> tuple[StageSummary, ...]:
    """Return the stages with the sums of all repeats."""
    found: dict[str, StageSummary] = {}
    for stage in (stage for summary in repeats for stage in summary.stages):
        known = found.get(stage.name, StageSummary(stage.name))
        found[stage.name] = StageSummary(
            stage.name,
            known.seconds + stage.seconds,
            known.made + stage.made,
            known.trainings + stage.trainings,
            known.reused + stage.reused,
        )
    return tuple(found.values())


def _costs(costs: Sequence[Costs]) -> Costs:
    """Return the sum of the costs."""
    names = [field.name for field in dataclasses.fields(Costs) if field.name != "unit"]
    return Costs(costs[0].unit, **{n: math.fsum(getattr(each, n) for each in costs) for n in names})


def _bill(bills: Sequence[Bill | None]) -> Bill | None:
    """Return the mean bill of one study; None if a repeat has none."""
    known = [each for each in bills if each is not None]
    if len(known) < len(bills):
        return None
    return bill_of(
        scores=_mean([each.scores for each in known]),
        search=_mean([each.search for each in known]),
        references=_mean([each.references for each in known]),
        plan=_mean([each.plan for each in known]),
        asked=known[0].per_request > known[0].plan,
    )


def _warnings(repeats: Sequence[Summary]) -> tuple[str, ...]:
    """Return the warnings of the repeats, and one about few repeats."""
    total = len(repeats)
    counts = Counter(warning for summary in repeats for warning in dict.fromkeys(summary.warnings))
    told = [f"In {count} of {total} repeats: {warning}" for warning, count in counts.items()]
    if total < LEAST_SEEDS:
        return (f"{total} repeats cannot show a claim; at least {LEAST_SEEDS} can.", *told)
    few = [f"Only {total} repeats: intervals are wide."] if total < 5 else []
    return (*few, *told)


def _repeat(number: int, summary: Summary) -> RepeatSummary:
    """Return the forget set, the models and the plan of one repeat."""
    (original,) = (row for row in summary.rows if row.method == "original")
    plan = find_row(summary.rows, "rum") or find_row(summary.rows, "rum", "file")
    steps: tuple[PlanStep, ...] = () if plan is None else plan.plan
    return RepeatSummary(
        number=number,
        digest=summary.experiment.digest,
        seeds=original.seeds,
        forget=summary.forget.size,
        split_half=summary.scores.split_half,
        retain_accuracy=original.metrics["retain_accuracy"].mean,
        objective=None if plan is None else plan.metrics["objective"].mean,
        plan=steps,
    )
