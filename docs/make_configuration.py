"""Render configuration.md from the dataclasses that read an experiment file.

Types and defaults come from the fields, meanings from the docstrings, ranges from the checks that
refuse a value.
"""

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rum_ray.data import DATASETS, options_of
from rum_ray.evaluation import ALWAYS, ATTACKS
from rum_ray.experiment import (
    ClusterConfig,
    DataConfig,
    DeletionConfig,
    EvaluateConfig,
    Experiment,
    ForgetConfig,
    GatesConfig,
    Precision,
    RelearnConfig,
    ScoreConfig,
    SearchConfig,
    key_of,
    to_plain,
)
from rum_ray.models import MODELS
from rum_ray.refinement import REFINERS, Refiner
from rum_ray.scores import PROXIES
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Domain, describe
from rum_ray.training.initial import InitialWeights
from rum_ray.training.normalization import Normalization
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS, GradientUnlearner, Unlearner

INTRODUCTION = """\
# Configuration

Every key of an experiment file, with type, default, range and meaning. `python docs/make.py`
writes this page; do not edit it.

- One YAML file describes one experiment. Tags, aliases, merge keys and duplicate keys are
  refused. The file has at most 1 MiB.
- Unknown keys, missing keys and wrong values are reported with their place before any work starts.
- `--set key=value` overrides one value: a dotted key and a YAML value, as in
  `--set recipe.epochs=10`. `--seed N` replaces `seeds`.
- A component without settings can be written as its name: `low: nothing`.
- YAML reads `1e-3` as text. Write `0.001` or `1.0e-3`.
- `package.module:name` stands for an installed component of your own wherever a name is expected.
- `name` and `cluster` do not affect any result. All other keys are part of the experiment's digest.
"""
LEAF_NAMES = {int: "integer", float: "number", str: "text", bool: "true or false"}
LEAF_NAMES[InitialWeights] = "text"
PARTS = {
    DataConfig: "[data](#data)",
    Recipe: "[recipe](#recipe)",
    Normalization: "[normalization](#normalization)",
    ScoreConfig: "[score](#score)",
    Precision: "[precision](#precision)",
    ForgetConfig: "[forget](#forget)",
    SearchConfig: "[search](#search)",
    Candidate: "[candidate](#candidates)",
    EvaluateConfig: "[evaluate](#evaluate)",
    RelearnConfig: "[relearn](#relearn)",
    DeletionConfig: "[deletion](#deletion)",
    GatesConfig: "[gates](#gates)",
    ClusterConfig: "[cluster](#cluster)",
    Unlearner: "[unlearner](#unlearners)",
    Refiner: "[refiner](#refine)",
}
CANDIDATES = """\
## Candidates

An entry of `search.unlearners` is a name, or a mapping that narrows the declared search domains.

```yaml
unlearners:
  - nothing
  - {name: finetune, epochs: 3}
  - {name: salun, lr: {low: 0.01, high: 0.1}, epochs: [1, 3, 5], keep: {high: 0.5}}
```

| value of a key | searched |
| :-- | :-- |
| one value | nothing: the key is fixed. Allowed for keys without a search domain, too |
| a list | these values |
| a mapping of `low`, `high` or both | the range between them; scale and type as declared |

All values must lie in the declared domain: the last column of the tables under
[unlearners](#unlearners).
"""
RANGES = {
    "check_positive": "above 0",
    "check_not_negative": "0 or more",
    "check_fraction": "0 to 1",
    "check_share": "0 to below 1",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One key.

    Attributes:
        name: the key.
        kind: its type, as a reader sees it.
        default: as YAML, or "required".
        range: what its check allows; empty if the type says it all.
        meaning: from the docstring.
        domain: what a search draws it from; empty if it does not.
    """

    name: str
    kind: str
    default: str
    range: str
    meaning: str
    domain: str = ""


def render() -> dict[str, str]:
    """Return the page by its name."""
    sections = [
        INTRODUCTION,
        _section("Top level", Experiment),
        *_data(),
        _section("recipe", Recipe),
        f"Models: {_listed(MODELS)}.\n",
        _section("normalization", Normalization),
        _section("score", ScoreConfig),
        f"Proxies: {_listed(PROXIES)}. They take no keys of their own.\n",
        _section("precision", Precision),
        _section("forget", ForgetConfig),
        *_refiners(),
        *_unlearners(),
        _section("search", SearchConfig),
        CANDIDATES,
        _section("evaluate", EvaluateConfig),
        f"Attacks: {_listed({n: a for n, a in ATTACKS.items() if n not in ALWAYS})}.\n",
        _section("relearn", RelearnConfig),
        _section("deletion", DeletionConfig),
        _section("gates", GatesConfig),
        _section("cluster", ClusterConfig),
    ]
    return {"configuration.md": "\n".join(sections)}


def _section(title: str, cls: type) -> str:
    """Return the section of one dataclass."""
    lines = [f"## {title}\n", f"{_summary(cls)}\n", _table(list(_fields(cls)))]
    lines += [f"{rule[0].upper()}{rule[1:]}.\n" for rule in _rules(cls)]
    return "\n".join(lines)


def _data() -> Iterator[str]:
    """Yield the section of data sets, one table each."""
    yield "## data\n\nA data set is given by its name and has its own options.\n"
    for name, function in DATASETS.items():
        yield f"### `name: {name}`\n\n{_summary(function)}\n\n{_table(list(_options(function)))}"


def _refiners() -> Iterator[str]:
    """Yield the section of refiners."""
    yield "## refine\n\nThe refiner splits the forget set into subsets.\n"
    for name, cls in REFINERS.items():
        yield f"### `name: {name}`\n\n{_summary(cls)}\n\n{_table(list(_fields(cls)))}"


def _unlearners() -> Iterator[str]:
    """Yield the section of unlearners: first what most share, then each one's own keys."""
    yield (
        "## Unlearners\n\nUnlearners are values of `plan` and `search.steps` (by subset), entries "
        "of `compare`, and\n[candidates](#candidates) of a search. The last column is the domain "
        "that a search draws from. A search\nkeeps the other keys at their defaults.\n"
    )
    shared = list(_fields(GradientUnlearner))
    others = {n: cls for n, cls in UNLEARNERS.items() if not issubclass(cls, GradientUnlearner)}
    yield f"### All but {_listed(others)}\n\n{_table(shared)}"
    for name, cls in UNLEARNERS.items():
        own = [entry for entry in _fields(cls) if entry not in shared]
        keys = _table(own) if own else "No keys beside the shared ones.\n"
        if not dataclasses.fields(cls):  # type: ignore[arg-type]
            keys = "No keys.\n"
        yield f"### `name: {name}`\n\n{_summary(cls)}\n\n{keys}"


def _fields(cls: Any) -> Iterator[Entry]:
    """Yield the keys of a dataclass."""
    hints, meanings, ranges = get_type_hints(cls), _meanings(cls), _ranges(cls)
    space: Mapping[str, Domain] = getattr(cls, "space", {})
    for field in dataclasses.fields(cls):
        kind = _kind(hints[field.name])
        domain = describe(space[field.name]) if field.name in space else ""
        # The docstring of a dataclass with one field may say it all in its first line.
        allowed, meaning = ranges.get(field.name, ""), meanings.get(field.name) or _summary(cls)
        make = field.default_factory
        default = field.default if make is dataclasses.MISSING else make()
        yield Entry(key_of(field), kind, _default(default), allowed, meaning, domain)


def _options(function: Callable[..., Any]) -> Iterator[Entry]:
    """Yield the keys that a data set's function takes."""
    hints, meanings = get_type_hints(function), _documented(inspect.getdoc(function))
    ranges = dict(_checks(function))
    for name, parameter in options_of(function).items():
        default = parameter.default
        if default is inspect.Parameter.empty:
            default = dataclasses.MISSING
        kind, meaning = _kind(hints[name]), meanings[name]
        yield Entry(name, kind, _default(default), ranges.get(name, ""), meaning)


def _kind(hint: Any) -> str:
    """Return a type in words."""
    if hint in PARTS:
        return PARTS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{option}`" for option in arguments)
    if origin in (Union, UnionType):
        rest = [
            *dict.fromkeys(_kind(argument) for argument in arguments if argument is not NoneType)
        ]
        return " or ".join([*rest, "null"] if NoneType in arguments else rest)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping from subset to {_kind(arguments[1])}"
    return LEAF_NAMES[hint]


def _default(value: Any) -> str:
    """Return a default as it would stand in the file."""
    if value is dataclasses.MISSING:
        return "required"
    plain = to_plain(value)
    if isinstance(plain, dict) and plain:
        return f"`{plain['name']}`" if type(value) in REFINERS.values() else "as below"
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _summary(thing: Any) -> str:
    """Return the first paragraph of a docstring; of a function, the value that it returns."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0].removeprefix("Return ")
    text = text.replace("; docs/configuration.md lists every key", "")
    return f"{text[:1].upper()}{text[1:]}"


def _meanings(cls: type) -> dict[str, str]:
    """Return what docstrings say of each field, those of base classes included."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        meanings |= _documented(vars(base).get("__doc__"))
    return meanings


def _documented(doc: str | None) -> dict[str, str]:
    """Return the entries under "Attributes:" or "Args:" in a docstring."""
    found: dict[str, str] = {}
    text = inspect.cleandoc(doc or "")
    section = re.search(r"^(?:Attributes|Args):\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    name = ""
    for line in textwrap.dedent(section.group(1)).splitlines() if section else ():
        if match := re.match(r"(\w+): (.*)", line):
            name, found[match[1]] = match[1], match[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    return found


def _ranges(cls: type) -> dict[str, str]:
    """Return what the checks of a dataclass allow, by field."""
    ranges: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if "__post_init__" in vars(base):
            ranges |= dict(_checks(vars(base)["__post_init__"]))
    return ranges


def _checks(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, what is allowed) of each check in a function's source."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in RANGES:
            for argument in node.args[1:]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), RANGES[node.func.id]  # type: ignore[attr-defined]
    rule = re.compile(r"(\w+) (?:must be|must name|must|may have) (.+?)\.?(?:, got.*)?$")
    for message in _messages(function):
        if match := rule.match(message):
            yield match[1], match[2]


def _rules(cls: type) -> Iterator[str]:
    """Yield the rules of a dataclass that speak of several fields at once."""
    if "__post_init__" in vars(cls):
        messages = _messages(vars(cls)["__post_init__"])
        yield from (message for message in messages if message.startswith("give "))


def _messages(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the texts of the errors that a function raises, without what was given."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            text = node.exc.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            yield "".join(str(p.value) for p in parts if isinstance(p, ast.Constant))


def _listed(table: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in table)


def _table(entries: list[Entry]) -> str:
    """Return the keys as a Markdown table; without a column of search domains if there are none."""
    if not entries:
        return "No keys.\n"
    searched = any(entry.domain for entry in entries)
    head = ["key", "type", "default", "range", "meaning", *(["searched"] if searched else [])]
    lines = [head, [":--"] * len(head)]
    for e in entries:
        row = [f"`{e.name}`", e.kind, e.default, e.range, e.meaning]
        lines.append([*row, *([e.domain] if searched else [])])
    safe = [[cell.replace("|", "&#124;") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in safe)


if __name__ == "__main__":
    print(render()["configuration.md"])
