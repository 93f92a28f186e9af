"""Render algorithms.md: every unlearner, proxy, refiner, attack, data set and model.

Ideas, formulas, references and costs come from the docstrings, keys from the fields, and gaps from
a run beside the formula in tests/reference.
"""

import functools
import importlib
import inspect
import math
import re
import runpy
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rum_ray.data import DATASETS
from rum_ray.evaluation import ATTACKS
from rum_ray.models import MODELS
from rum_ray.refinement import REFINERS
from rum_ray.scores import PROXIES
from rum_ray.testing import UnlearnerContract
from rum_ray.unlearning import UNLEARNERS

DOCS = Path(__file__).parent
CONFIGURATION = runpy.run_path(str(DOCS / "make_configuration.py"))
SMALLEST = 1e-6
INTRODUCTION = """\
# Algorithms

The components of the package: idea, formula, source, settings and cost of each. `python
docs/make.py` writes this page from the docstrings; do not edit it.
[Configuration](configuration.md) has the keys of an experiment file, [protocol](protocol.md) the
definition of each number.

S is the forget set, R the retain set, D both together; theta are the weights, f(x) the logits. CE
is the mean cross-entropy and grad its gradient. E is the number of epochs and e a 0-based epoch.
`package.module:name` in an experiment file takes a component of your own in place of any name here
([how to add one](howto/add.md)).
"""
UNLEARNER_INTRODUCTION = """\
SGD steps down each loss, batch by batch, with a fresh momentum.
"""
COST_INTRODUCTION = """\
### Cost and check against the formula

The cost is counted in examples that go forward and backward; a forward pass alone counts a third.
The gap is the largest difference of a weight between the unlearner and a literal loop over its
formula in double precision (`tests/reference/unlearning.py`), where one batch holds everything.
"""
CONTRACT_INTRODUCTION = """\
### The contract

`UnlearnerContract` of `rum_ray.testing` checks these properties of every unlearner of the table
(`tests/contract/test_unlearners.py`), and of yours if you subclass it:
"""


def render() -> dict[str, str]:
    """Return the page by its name."""
    parts = [
        INTRODUCTION,
        f"## Unlearners\n\n{UNLEARNER_INTRODUCTION}\n{_overview(UNLEARNERS)}",
        f"{COST_INTRODUCTION}\n{_costs()}",
        f"{CONTRACT_INTRODUCTION}\n{_contract()}",
        *(_unlearner(name, kind) for name, kind in UNLEARNERS.items()),
        *_others("Proxies", PROXIES),
        *_others("Refiners", REFINERS),
        *_others("Attacks", ATTACKS),
        *_others("Data sets", DATASETS),
        *_others("Models", MODELS),
    ]
    return {"algorithms.md": "\n".join(parts)}


def _overview(table: Mapping[str, Any]) -> str:
    """Return a table of components: name, idea and references."""
    lines = ["| name | idea | reference |", "| :-- | :-- | :-- |"]
    for name, thing in table.items():
        idea = _paragraphs(thing)[0].removeprefix("Return ").rstrip(".")
        idea = f"{idea[:1].upper()}{idea[1:]}{_options(thing)}"
        row = [f"`{name}`", idea, _references(thing)]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |")
    return "\n".join(lines) + "\n"


def _options(thing: Any) -> str:
    """Return the options that an attack fixes, for its idea."""
    function = getattr(thing, "function", None)
    fixed = function.keywords if isinstance(function, functools.partial) else {}
    return "".join(f"; {key}: {value}" for key, value in fixed.items())


def _references(thing: Any) -> str:
    """Return the works that the paragraph "Reference:" cites, as short links."""
    cited = [p for p in _paragraphs(thing) if p.startswith(("Reference:", "References:"))]
    works = re.findall(
        r'([^":]*?), "[^"]+",? (?:in )?([^"]*?), (https?://\S+?)[.,;)]*(?=\s|$)', " ".join(cited)
    )
    return "; ".join(f"[{_authors(who)}, {where}]({link})" for who, where, link in works)


def _authors(text: str) -> str:
    """Return "Surname et al." of a list of authors, or one or two surnames."""
    names = re.sub(r"^[\W]*(?:and |in this form )?|.* as ", "", text.strip())
    first = re.split(r",| and | et al", names)[0]
    several = names.count(",") + names.count(" and ") + names.count(" et al")
    return f"{first} et al." if several > 1 or " et al" in names else names


def _costs() -> str:
    """Return the table of unlearners: name, cost, gap."""
    gap = _reference()
    lines = ["| name | cost | gap |", "| :-- | :-- | --: |"]
    for name, kind in UNLEARNERS.items():
        cost = _paragraphs(kind.cost)[0].removeprefix("Return ").rstrip(".")
        row = [f"`{name}`", cost, _bound(gap(name)[0])]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |")
    return "\n".join(lines) + "\n"


def _contract() -> str:
    """Return the properties that the contract tests, as a list."""
    tests = [t for name, t in vars(UnlearnerContract).items() if name.startswith("test_")]
    lines = []
    for test in tests:
        name = test.__name__.removeprefix("test_").replace("_", " ")
        lines.append(f"- {name[0].upper()}{name[1:]}. {_paragraphs(test)[0]}")
    return "\n".join(map(_wrapped, lines)) + "\n"


def _unlearner(name: str, kind: Any) -> str:
    """Return the section of one unlearner."""
    keys = ["| key | default | searched |", "| :-- | :-- | :-- |"]
    keys += [f"| `{e.name}` | {e.default} | {e.domain} |" for e in CONFIGURATION["_fields"](kind)]
    table = "\n".join(keys) if len(keys) > 2 else "It has no keys."
    return f"### `{name}`\n\n{_text(kind)}\n\n{table}\n"


def _others(title: str, table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section of a table: its overview, its modules, then one part per entry."""
    modules = dict.fromkeys(inspect.getmodule(_described(thing)) for thing in table.values())
    yield "\n\n".join([f"## {title}", _overview(table), *map(_text, modules)]) + "\n"
    for name, thing in table.items():
        yield f"### `{name}`\n\n{_text(thing)}\n"


def _described(thing: Any) -> Any:
    """Return the class, function or module that documents a component."""
    while isinstance(thing, functools.partial) or hasattr(thing, "function"):
        thing = thing.func if isinstance(thing, functools.partial) else thing.function
    return thing


def _text(thing: Any) -> str:
    """Return the paragraphs of a docstring, wrapped."""
    return "\n\n".join(map(_wrapped, _paragraphs(thing)))


def _paragraphs(thing: Any) -> list[str]:
    """Return the paragraphs of a docstring before "Attributes:" and the like, one line each."""
    doc = inspect.getdoc(_described(thing)) or ""
    text = re.split(r"^(?:Attributes|Args|Returns|Raises|Example|Examples):$", doc, flags=re.M)
    return [" ".join(part.split()) for part in text[0].strip().split("\n\n")]


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _bound(gap: float) -> str:
    """Return the power of ten that a gap is below, so that it does not differ between CPUs."""
    return "0" if gap == 0 else f"< {max(SMALLEST, 10.0 ** math.ceil(math.log10(gap))):.0e}"


def _reference() -> Any:
    """Return `closed_forms.gap` of the tests: by name, the difference to the formula."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    return importlib.import_module("reference.closed_forms").gap


if __name__ == "__main__":
    print(render()["algorithms.md"])
