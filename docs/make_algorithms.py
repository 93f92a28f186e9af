"""Write docs/algorithms.md: what each unlearner, proxy, refiner and attack is.

Ideas, formulas, references and costs come from the docstrings, keys from the fields, and gaps from
a run beside the formula in tests/reference. So there is nothing to keep in step by hand;
tests/test_readme.py compares the file.
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

from rum_ray.evaluation import ATTACKS
from rum_ray.refinement import REFINERS
from rum_ray.scores import PROXIES
from rum_ray.testing import UnlearnerContract
from rum_ray.unlearning import UNLEARNERS

TARGET = Path(__file__).with_name("algorithms.md")
CONFIGURATION = runpy.run_path(str(TARGET.with_name("make_configuration.py")))
SMALLEST = 1e-6
INTRODUCTION = """\
# Algorithms

What each unlearner, proxy, refiner and attack does, where it comes from, and what can be set.
Made by `python docs/make_algorithms.py`; do not edit. How they are written in an experiment file is
in [configuration.md](configuration.md), how a number is made in [protocol.md](protocol.md).

S is the forget set, R the retain set, D both together; theta are the weights, f(x) the logits, CE
is the mean cross-entropy, grad its gradient, E the number of epochs and e a 0-based epoch.
"""
UNLEARNER_INTRODUCTION = """\
## Unlearners

Where a formula is a loss, SGD steps down it, batch by batch, with a fresh momentum. Cost is counted
in examples that go forward and backward; a forward pass alone counts a third. The gap is the
largest difference of a weight to a literal loop over the formula in double precision
(`tests/reference/unlearning.py`), where one batch holds everything.
"""
CONTRACT_INTRODUCTION = """\
### What all of them keep to

`UnlearnerContract` of `rum_ray.testing`, which `tests/contract/test_unlearners.py` runs over every
entry of the table:
"""


def render() -> str:
    """Return the page."""
    return "\n".join(
        [
            INTRODUCTION,
            UNLEARNER_INTRODUCTION,
            _overview(),
            f"{CONTRACT_INTRODUCTION}\n{_contract()}",
            *(_unlearner(name, kind) for name, kind in UNLEARNERS.items()),
            *_others("Proxies", PROXIES),
            *_others("Refiners", REFINERS),
            *_attacks(),
        ]
    )


def _overview() -> str:
    """Return the table of unlearners: name, idea, cost, gap."""
    gap = _reference()
    lines = ["| name | idea | cost | gap |", "| :-- | :-- | :-- | --: |"]
    for name, kind in UNLEARNERS.items():
        cost = _paragraphs(kind.cost)[0].removeprefix("Return ").rstrip(".")
        row = [f"`{name}`", _paragraphs(kind)[0], cost, _bound(gap(name)[0])]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |")
    return "\n".join(lines) + "\n"


def _contract() -> str:
    """Return what the contract tests, as a list."""
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
    """Yield the section of a table: what its modules say, then a part for each entry."""
    modules = dict.fromkeys(inspect.getmodule(thing) for thing in table.values())
    yield "\n\n".join([f"## {title}", *map(_text, modules)]) + "\n"
    for name, thing in table.items():
        yield f"### `{name}`\n\n{_text(thing)}\n"


def _attacks() -> Iterator[str]:
    """Yield the section of attacks: the texts of their modules, then a part for each attack."""
    functions = {name: _function(attack.function) for name, attack in ATTACKS.items()}
    modules = dict.fromkeys(inspect.getmodule(function) for function in functions.values())
    yield "\n\n".join(["## Attacks", *map(_text, modules)]) + "\n"
    for name, attack in ATTACKS.items():
        own = attack.function is functions[name]
        text = _text(attack.function) if own else _wrapped(_derived(attack.function))
        yield f"### `{name}`\n\n{text}\n"


def _function(function: Any) -> Any:
    """Return a function, or the one that a partial calls."""
    return function.func if isinstance(function, functools.partial) else function


def _derived(attack: Any) -> str:
    """Return the text of an attack that is another one with other options."""
    options = ", ".join(f"`{key}` = `{value}`" for key, value in attack.keywords.items())
    name = next(n for n, known in ATTACKS.items() if known.function is attack.func)
    return f"As `{name}`, with {options}."


def _text(thing: Any) -> str:
    """Return what a docstring says before its sections, wrapped."""
    return "\n\n".join(map(_wrapped, _paragraphs(thing)))


def _paragraphs(thing: Any) -> list[str]:
    """Return the paragraphs of a docstring before "Attributes:" and the like, one line each."""
    text = re.split(
        r"^(?:Attributes|Args|Returns|Raises):$", inspect.getdoc(thing) or "", flags=re.M
    )
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
    sys.path.insert(0, str(TARGET.parents[1] / "tests"))
    return importlib.import_module("reference.closed_forms").gap


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
