"""A report in Python: the typed summary, and the tables of examples and trials."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from rum_ray.data.parquet import read_table
from rum_ray.errors import DataError
from rum_ray.experiment.parts import LABELS
from rum_ray.files import read_regular
from rum_ray.results.schema import Row, SearchSummary, Summary, to_json

MOST_BYTES = 2**30
"""Largest report.json that is read."""
_PARTS = {"best", "finalists", "front", "expected_best"}
"""Fields of a search that are not single values."""


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The results of a finished study.

    Attributes:
        summary: report.json as typed values.
        scores: scores.parquet, one row per training example: `id`, `memorization`,
            `standard_error`, one column per proxy, `label`, `true_label` where it is known, and
            `subset`. Scores are higher for harder examples; NaN is unknown.
        trials: trials.parquet, one row per trial of a search.

    Example:
        >>> from rum_ray.results.report import row_frame
        >>> from rum_ray.results.schema import Metric, Row
        >>> tow = Metric(0.8, None, (0.75, 0.85))
        >>> row = Row("vanilla", "finetune", "file", None, (), (0, 1), {"tow": tow}, {})
        >>> row_frame([row])[["method", "unlearner", "seed", "tow"]]
            method unlearner  seed   tow
        0  vanilla  finetune     0  0.75
        1  vanilla  finetune     1  0.85
    """

    summary: Summary
    scores: pd.DataFrame
    trials: pd.DataFrame

    @classmethod
    def read(cls, path: str | Path) -> "Report":
        """Read a report from its folder, or from the path of its report.json.

        Raises:
            DataError: a file is missing or cannot be read, or report.json is not of format 1.
            UnsafeError: reading a table could run code.
        """
        path = Path(path)
        file = path if path.suffix == ".json" else path / "report.json"
        try:
            tree = json.loads(read_regular(file, MOST_BYTES))
            names = ("scores.parquet", "trials.parquet")
            tables = [read_table(file.with_name(name)).to_pandas() for name in names]
        except (OSError, ValueError, RecursionError, MemoryError, DataError) as error:
            raise DataError(
                f"{path}: no report can be read there ({error}). Give the folder that 'rum-ray "
                "run' or 'rum-ray report' wrote, with report.json, scores.parquet and "
                "trials.parquet."
            ) from error
        return cls(Summary.from_json(tree), *tables)

    def __repr__(self) -> str:
        name, rows = self.summary.experiment.name, len(self.summary.rows)
        return f"Report({name!r}, {rows} methods, {len(self.trials)} trials)"

    @property
    def rows(self) -> pd.DataFrame:
        """One row per method and seed; see `row_frame`."""
        return row_frame(self.summary.rows)

    @property
    def searches(self) -> pd.DataFrame:
        """One row per search; see `search_frame`."""
        return search_frame(self.summary.searches)


def row_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return one row per method and seed.

    Columns: `method`, `unlearner`, `source` and `seed`, as in report.json; then one column per
    metric that has one value per seed. NaN where a method lacks the metric.
    """
    records = [
        {
            "method": row.method,
            "unlearner": row.unlearner,
            "source": row.source,
            "seed": seed,
            **{
                name: metric.values[place]
                for name, metric in row.metrics.items()
                if len(metric.values) == len(row.seeds)
            },
        }
        for row in rows
        for place, seed in enumerate(row.seeds)
    ]
    columns = dict.fromkeys((*LABELS, *(name for record in records for name in record)))
    return pd.DataFrame(records, columns=list(columns))


def search_frame(searches: Sequence[SearchSummary]) -> pd.DataFrame:
    """Return one row per search: its settings and counts, and its pick.

    Columns: the single values of `SearchSummary`; then of the pick `best_objective`,
    `best_validated`, `best_cost`, and `best_plan` as JSON, like `plan` of trials.parquet.
    """
    names = [each.name for each in fields(SearchSummary) if each.name not in _PARTS]
    records = [
        {
            **{name: getattr(search, name) for name in names},
            "best_objective": search.best.objective,
            "best_validated": search.best.validated,
            "best_cost": search.best.cost,
            "best_plan": json.dumps(to_json(search.best.plan)),
        }
        for search in searches
    ]
    best = [f"best_{name}" for name in ("objective", "validated", "cost", "plan")]
    return pd.DataFrame(records, columns=[*names, *best])
