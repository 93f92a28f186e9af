"""The numbers of a report as typed values: report.json in Python, with its JSON schema.

Every part is a frozen dataclass whose fields are the keys of report.json. A number that cannot be
measured is None, with the reason beside it. `Summary.to_json` and `Summary.from_json` convert.
"""

from rum_ray.results.schema.examples import (
    Entanglement,
    ForgetSummary,
    PrecisionSummary,
    ProxySummary,
    ScoreSummary,
    SubsetSummary,
)
from rum_ray.results.schema.rows import (
    Claim,
    Difference,
    Klom,
    Metric,
    Numbers,
    PlanStep,
    Regret,
    Row,
    RowName,
)
from rum_ray.results.schema.searches import (
    FinalistSummary,
    FrontPoint,
    Ladder,
    Pick,
    ReferenceSummary,
    Rung,
    SearchSummary,
)
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
from rum_ray.results.schema.summary import Summary, json_schema, to_json
from rum_ray.study.timing import StageForecast

__all__ = [
    "Bill",
    "Claim",
    "Costs",
    "DataSummary",
    "Difference",
    "Entanglement",
    "Environment",
    "ExperimentSummary",
    "FinalistSummary",
    "ForgetSummary",
    "FrontPoint",
    "Klom",
    "Ladder",
    "Metric",
    "Numbers",
    "Pick",
    "PlanStep",
    "PrecisionSummary",
    "ProxySummary",
    "ReferenceSummary",
    "Regret",
    "RepeatSummary",
    "Row",
    "RowName",
    "Rung",
    "ScoreSummary",
    "SearchSummary",
    "Selection",
    "StageForecast",
    "StageSummary",
    "SubsetSummary",
    "Summary",
    "json_schema",
    "to_json",
]
