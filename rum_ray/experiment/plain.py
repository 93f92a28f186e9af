"""Conversion of an experiment to plain values for YAML and JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rum_ray.experiment.parts import DataConfig
from rum_ray.refinement import REFINERS
from rum_ray.rum import Plan
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice
from rum_ray.training.initial import InitialWeights
from rum_ray.unlearning import UNLEARNERS


def to_plain(value: Any) -> Any:
    """Return a part of an experiment as plain values, as in an experiment file."""
    if isinstance(value, DataConfig):
        return {"name": value.name, **{k: to_plain(v) for k, v in value.options.items()}}
    if isinstance(value, Candidate):
        narrowed = {k: to_plain(v) for k, v in value.narrowed.items()}
        return {"name": value.name, **narrowed} if narrowed else value.name
    if isinstance(value, InitialWeights):
        return value.path
    if isinstance(value, Choice):
        return list(value.options)
    if dataclasses.is_dataclass(value):
        fields = {key_of(f): to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = _table_name(type(value))
        return fields if name is None else {"name": name, **fields}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value


def key_of(field: "dataclasses.Field[Any]") -> str:
    """Return the key of a field in experiment files: its name, or its metadata `key`."""
    return str(field.metadata.get("key", field.name))


def plan_as_dicts(plan: Plan) -> list[dict[str, Any]]:
    """Return a plan in the form of report.json: subset and unlearner per step."""
    return [
        {"subset": step.subset.name, "unlearner": to_plain(step.unlearner)} for step in plan.steps
    ]


def _table_name(kind: type) -> str | None:
    """Return the name of a class in experiment files; None if it has none."""
    for table in (UNLEARNERS, REFINERS):
        for name, known in table.items():
            if known is kind:
                return name
    plug_in = not kind.__module__.startswith("rum_ray.")
    return f"{kind.__module__}:{kind.__qualname__}" if plug_in else None
