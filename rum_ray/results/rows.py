"""The rows of the report: metrics over seeds, and names of rows that are the same."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rum_ray.errors import ConfigError
from rum_ray.evaluation.statistics import Mean, PairedGap
from rum_ray.evaluation.tow import Evaluation
from rum_ray.results.attacks import attack_metrics, klom_summaries
from rum_ray.results.metrics import by_seed, metric
from rum_ray.results.outcome import Measured, Method
from rum_ray.results.residuals import residual_metrics
from rum_ray.results.schema import Metric, Row, RowName

_OF_ATTACK = {"svm": "mia_gap", "auc": "auc_gap"}
LEAST_TRIALS = 8
"""A row of `compare` that was chosen from fewer plans is untuned."""
COMPARED = ("vanilla", "shuffle", "rum_f")
"""Methods with one row per unlearner of `compare`."""
_PICKED = ("rum", "best_single", "refined", "ordered", "untuned", "unjoined")
"""Methods whose rows are one row if their plans are equal, in the order of their names."""
_SOURCES = ("search", "file")


def row_summaries(measured: Measured) -> tuple[Row, ...]:
    """Return the rows, each with its excess over the noise floor; equal plans are one row."""
    attacks, residuals = attack_metrics(measured), residual_metrics(measured)
    rows = [
        _row(measured, method, {**of_attacks, **of_residuals})
        for method, of_attacks, of_residuals in zip(
            measured.methods, attacks, residuals, strict=True
        )
    ]
    (floor,) = (row for row in rows if row.method == "retrained_again")
    return merged([_with_excess(row, floor) for row in rows])


def _row(measured: Measured, method: Method, others: dict[str, Metric]) -> Row:
    """Return a row without its excess; `others` are metrics beside those of `Evaluation`."""
    retrained = measured.methods[0]
    metrics = _metrics(method, retrained, _OF_ATTACK[measured.config.attack])
    for name in metrics.keys() & others.keys():
        raise ConfigError(
            f"evaluate.also: an attack has the name '{name}' of another metric. Rename the attack."
        )
    worst, collapsed = collapses(metrics["objective"])
    return Row(
        method=method.name,
        unlearner=method.unlearner,
        source=method.source,
        trials=method.trials,
        plan=method.plan,
        seeds=measured.seeds,
        metrics={**metrics, **others},
        klom=klom_summaries(method, retrained),
        worst=worst,
        collapsed=collapsed,
        untuned=method.name in COMPARED and (method.trials or 0) < LEAST_TRIALS,
    )


def collapses(objective: Metric) -> tuple[float | None, int | None]:
    """Return the lowest value of a seed, and the number of seeds below half of the mean."""
    values = by_seed(objective)
    if not len(values) or not np.isfinite(values).all():
        return None, None
    return float(values.min()), int((values < 0.5 * values.mean()).sum())


def _metrics(method: Method, retrained: Method, attack_gap: str) -> dict[str, Metric]:
    """Return the metrics of the evaluations against those of the retrained models, by name."""
    pairs = list(zip(method.evaluations, retrained.evaluations, strict=True))
    found = [ours.against(theirs) for ours, theirs in pairs]
    answers = [(_answers(ours), _answers(theirs)) for ours, theirs in pairs]
    for values in found:
        values["objective"] = values["tow"] - values[attack_gap]
        for attack, gap in _OF_ATTACK.items():
            values[f"objective_{attack}"] = values["tow"] - values[gap]
    names = [name for name in found[0] if all(name in values for values in found)]
    metrics = {}
    for name in dict.fromkeys([*names, *answers[0][0]]):
        if name in answers[0][0]:
            gaps = [ours[name] - theirs[name] for ours, theirs in answers]
            metrics[name] = metric(PairedGap.of(gaps))
        else:
            metrics[name] = metric(Mean.of([values[name] for values in found]))
    return metrics


def _answers(evaluation: Evaluation) -> dict[str, float]:
    """Return the answers that have a gap, by the name of the gap."""
    accuracies = evaluation.accuracies
    answers = {
        "mia_gap": evaluation.mia,
        "auc_gap": evaluation.auc,
        **{f"auc_gap_{name}": auc for name, auc in evaluation.subset_aucs.items()},
        "accuracy_gap_retain": accuracies.retain,
        "accuracy_gap_test": accuracies.test,
    }
    if evaluation.relearned is not None:
        answers["relearned_gap"] = evaluation.relearned
    return answers


def _with_excess(row: Row, floor: Row) -> Row:
    """Return a row with its excess: J of the noise floor minus J of the row, paired by seed."""
    values = by_seed(floor.metrics["objective"]) - by_seed(row.metrics["objective"])
    return replace(row, metrics={**row.metrics, "excess": metric(Mean.of(values))})


def merged(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows, with those of equal plans in one row, which has the names of all.

    Only picks of searches and the plan of the file are compared. Equal plans have equal results,
    since a plan and a seed determine every draw.
    """
    kept: list[Row] = []
    for row in sorted(rows, key=_rank):
        place = next((n for n, each in enumerate(kept) if _is_same(each, row)), None)
        if place is None:
            kept.append(row)
        else:
            name = RowName(row.method, row.unlearner, row.source, row.trials)
            kept[place] = replace(kept[place], also=(*kept[place].also, name))
    order = {name_of(row): place for place, row in enumerate(rows)}
    return tuple(sorted(kept, key=lambda row: order[name_of(row)]))


def name_of(row: Row | RowName) -> tuple[str, str | None, str | None]:
    """Return method, unlearner and source."""
    return row.method, row.unlearner, row.source


def _rank(row: Row) -> tuple[int, int]:
    """Return the place of a row among those of its plan: the first one names it."""
    method = _PICKED.index(row.method) if row.method in _PICKED else len(_PICKED)
    return method, _SOURCES.index(row.source) if row.source in _SOURCES else len(_SOURCES)


def _is_same(a: Row, b: Row) -> bool:
    """Return True if two rows are picks with one plan."""
    return {a.method, b.method} <= {*_PICKED} and bool(a.plan) and a.plan == b.plan


def find_row(rows: Sequence[Row], method: str, source: str | None = "search") -> Row | None:
    """Return the row that has a name, of its own or beside another one."""
    return next((row for row in rows if _named(row, method, source) is not None), None)


def trials_of(row: Row, method: str, source: str | None = "search") -> int | None:
    """Return the number of trials of one of a row's names."""
    found = _named(row, method, source)
    return None if found is None else found.trials


def _named(row: Row, method: str, source: str | None) -> Row | RowName | None:
    """Return the name of a row with this method and source."""
    names: list[Row | RowName] = [row, *row.also]
    return next((each for each in names if (each.method, each.source) == (method, source)), None)
