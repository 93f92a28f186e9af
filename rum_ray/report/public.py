"""The public form of a report: nothing in it names an example, a file or a user."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rum_ray.config.public import LEFT_OUT, dump_public, without_paths
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment
from rum_ray.results.report import Report
from rum_ray.results.schema import PlanStep, Row, SubsetSummary, Summary

T = TypeVar("T")

PUBLIC = "public"
"""Folder of the public form, in that of the report."""
FEW = 10
"""Numbers about fewer rows are left out."""
_ROOT = re.compile(r"root \d+")
"""A seed in the text of a selection."""


def check_public(examples: int) -> None:
    """Raise ConfigError if nothing could be told about a forget set of this size."""
    if examples < FEW:
        raise ConfigError(
            f"--public leaves out numbers about fewer than {FEW} rows, and the forget set has "
            f"{examples}. Leave --public out, or report a larger forget set."
        )


def write_public(out: Path, report: Report, experiment: Experiment) -> tuple[Path, Report]:
    """Write the public form of a report without pictures; return its folder, and the form.

    Args:
        out: folder of the report.
        report: to publish.
        experiment: of the report.
    """
    # Matplotlib and the page take half a second to import.
    from rum_ray.report.files import write

    folder, public = out / PUBLIC, public_report(report, experiment)
    write(folder, public)
    return folder, public


def public_report(report: Report, experiment: Experiment) -> Report:
    """Return a report without ids, paths, seeds, hashes, and numbers about fewer than 10 examples.

    Left out are the table of examples, counts per class of the forget set, the lowest and highest
    score of a subset, and subsets of fewer than 10 examples. Seeds are numbered from 0. The form is
    for a page without pictures.

    Args:
        report: to publish.
        experiment: of the report.
    """
    small = {subset.name for subset in report.summary.subsets if subset.size < FEW}
    columns = map(str, report.trials.columns)
    small_columns = [name for name in columns if _is_about(name, small)]
    return Report(
        _summary(report.summary, experiment, small),
        report.scores.iloc[:0],
        report.trials.drop(columns=small_columns),
    )


def _summary(summary: Summary, experiment: Experiment, small: set[str]) -> Summary:
    """Return the public form of a summary; `small` are the names of subsets to leave out."""
    config, hidden = dump_public(experiment)

    def told(text: str) -> str:
        text = _ROOT.sub(f"root {LEFT_OUT}", text)
        # A path may begin with another one.
        for private in sorted(hidden, key=len, reverse=True):
            text = text.replace(private, LEFT_OUT)
        return text

    seeds = f"{len(experiment.seeds)} seeds"
    chosen = [
        replace(each, seeds=seeds if each.split == "test" else told(each.seeds))
        for each in summary.selected_on
    ]
    public = replace(
        summary,
        experiment=replace(summary.experiment, digest="", config=config),
        data=replace(summary.data, flipped=_many(summary.data.flipped)),
        forget=replace(summary.forget, classes=()),
        subsets=tuple(_subset(each) for each in summary.subsets if each.name not in small),
        rows=tuple(_row(row, small) for row in summary.rows),
        selected_on=tuple(dict.fromkeys(chosen)),
        warnings=tuple(map(told, summary.warnings)),
        repeats=tuple(replace(each, digest="", seeds=()) for each in summary.repeats),
        public=True,
    )
    return _with_public_steps(public)


def _subset(subset: SubsetSummary) -> SubsetSummary:
    """Return a subset without the scores of single examples and without small counts."""
    flipped = _many(subset.flipped)
    return replace(subset, score_low=None, score_high=None, flipped=flipped, classes=())


def _row(row: Row, small: Iterable[str]) -> Row:
    """Return a row without seeds and without the metrics of small subsets."""
    kept = {name: value for name, value in row.metrics.items() if not _is_about(name, small)}
    return replace(row, seeds=tuple(range(len(row.seeds))), metrics=kept)


def _is_about(metric: str, subsets: Iterable[str]) -> bool:
    """Return True if a metric is that of one of these subsets."""
    return any(metric.endswith(f"_{subset}") for subset in subsets)


def _many(count: int | None) -> int | None:
    """Return a number of rows; None if there are few."""
    return None if count is None or count < FEW else count


def _with_public_steps(value: T) -> T:
    """Return a summary whose plans name no file."""
    return _public_steps(value)  # type: ignore[return-value]


def _public_steps(value: object) -> object:
    if isinstance(value, PlanStep):
        return replace(value, unlearner=without_paths(value.unlearner))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return replace(value, **{name: _public_steps(getattr(value, name)) for name in names})
    if isinstance(value, Mapping):
        return {key: _public_steps(item) for key, item in value.items()}
    return tuple(map(_public_steps, value)) if isinstance(value, tuple) else value
