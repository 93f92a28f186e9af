"""report.json as one typed value."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from rum_ray.errors import DataError
from rum_ray.results.schema.examples import Entanglement, ForgetSummary, ScoreSummary, SubsetSummary
from rum_ray.results.schema.rows import OPTIONAL, Claim, Row
from rum_ray.results.schema.searches import Ladder, ReferenceSummary, SearchSummary
from rum_ray.results.schema.study import (
    Bill,
    Costs,
    DataSummary,
    Environment,
    ExperimentSummary,
    RepeatSummary,
    Selection,
    StageSummary,
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """report.json: all numbers of a finished study.

    `attack_titles` has the title of each attack in `evaluate.also`, by the name of its metrics; it
    is left out if there is none. `decides` is the metric that decides all claims. `variants` are
    the claims that RUM^F is better than vanilla, by unlearner. `bill` is the whole cost of the
    reported plan; it is left out without a plan.

    `repeats` is empty for one study. In the report over several, the values of a metric are means
    over the seeds of each repeat, the seeds of a row are the numbers of the repeats, numbers of
    data, scores, forget set, subsets and bill are means over repeats, and stages and costs are
    sums.

    `public` is true in the public form, which has no hashes, paths and numbers about fewer than 10
    examples; else it is left out.
    """

    format: Literal[1] = 1
    status: Literal["complete"] = "complete"
    attack: str
    experiment: ExperimentSummary
    environment: Environment
    data: DataSummary
    scores: ScoreSummary
    forget: ForgetSummary
    subsets: tuple[SubsetSummary, ...]
    entanglement: Entanglement
    rows: tuple[Row, ...]
    comparisons: tuple[Claim, ...]
    searches: tuple[SearchSummary, ...]
    ladder: Ladder | None
    references: tuple[ReferenceSummary, ...]
    stages: tuple[StageSummary, ...]
    costs: Costs
    selected_on: tuple[Selection, ...]
    warnings: tuple[str, ...]
    attack_titles: Mapping[str, str] | None = field(default=None, metadata=OPTIONAL)
    decides: str = "objective"
    variants: tuple[Claim, ...] = ()
    bill: Bill | None = field(default=None, metadata=OPTIONAL)
    repeats: tuple[RepeatSummary, ...] = ()
    public: bool | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; numbers that are not finite become null."""
        tree: dict[str, Any] = to_json(self)
        return tree

    @classmethod
    def from_json(cls, tree: object) -> "Summary":
        """Return the summary in the plain values of a report.json.

        Raises:
            DataError: a key is missing or has a value of another type; the message says where.
        """
        try:
            return _ADAPTER.validate_python(tree)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"])) or "the file"
            raise DataError(
                f"report.json: {place}: {problem['msg']}. The file is not of format 1; write it "
                "again with 'rum-ray report'."
            ) from error


_ADAPTER: TypeAdapter[Summary] = TypeAdapter(Summary)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of report.json."""
    return _ADAPTER.json_schema()


def to_json(value: object) -> Any:
    """Return a part of a summary as plain JSON values."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            str(each.metadata.get("key", each.name)): to_json(content)
            for each in dataclasses.fields(value)
            if (content := getattr(value, each.name)) is not None
            or not each.metadata.get("optional")
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value
