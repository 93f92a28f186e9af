"""Render report_schema.md and report.schema.json from the types of report.json."""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from rum_ray.results import schema

INTRODUCTION = """\
# Schema of report.json

`report.json` holds every number of a report. `format` is 1, and keys are only added. A number that
cannot be measured is `null`, and a reason stands beside it. `rr.read_report(path)` reads the file
into data frames ([tutorial](tutorials/read_report.md)); [the report](report.md) explains the
numbers. The file `report.schema.json` beside this page is the JSON schema. `python docs/make.py`
writes both; do not edit them.
"""
LEAVES = {str: "text", int: "integer", float: "number", bool: "true or false"}


def render() -> dict[str, str]:
    """Return the page and the JSON schema by their names."""
    page = "\n".join([INTRODUCTION, *(_section(kind) for kind in _kinds(schema.Summary))])
    return {
        "report_schema.md": page,
        "report.schema.json": json.dumps(schema.json_schema(), indent=1) + "\n",
    }


def _kinds(root: type) -> list[type]:
    """Return a dataclass and all dataclasses that its fields hold, in the order of use."""
    found: list[type] = [root]
    for kind in found:
        for hint in typing.get_type_hints(kind).values():
            found += [part for part in _parts(hint) if part not in found]
    return found


def _parts(hint: Any) -> Iterator[type]:
    """Yield the dataclasses in a type."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for argument in typing.get_args(hint):
        yield from _parts(argument)


def _section(kind: type) -> str:
    """Return the section of one dataclass: its keys, types and meanings."""
    doc = inspect.getdoc(kind) or ""
    hints, meanings = typing.get_type_hints(kind), _meanings(doc)
    rows = ["| key | type | meaning |", "| :-- | :-- | :-- |"]
    for field in dataclasses.fields(kind):
        name = field.metadata.get("key", field.name)
        meaning = meanings.get(field.name, "")
        rows.append(f"| `{name}` | {_type(hints[field.name])} | {meaning} |")
    return "\n".join([f"## {kind.__name__}", "", doc.split("\n\n")[0], "", *rows]) + "\n"


def _meanings(doc: str) -> dict[str, str]:
    """Return what a docstring says of each field."""
    text = doc.partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()).replace("|", "&#124;") for name, meaning in entries}


def _type(hint: Any) -> str:
    """Return a type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        parts = [_type(part) for part in arguments if part is not types.NoneType]
        return " or ".join([*parts, "null"] if types.NoneType in arguments else parts)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping from text to {_type(arguments[1])}"
    return LEAVES.get(hint, "any")


if __name__ == "__main__":
    print(render()["report_schema.md"])
