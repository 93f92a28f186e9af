"""Docstrings: examples of public names run, and no sentence begins without its subject."""

import ast
import doctest
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rum_ray as rr

ROOT = Path(rr.__file__).parent
HEADLESS = re.compile(r"(What|Whether|Who|Return (what|whether|which|how|who))\b")


def docstrings() -> Iterator[tuple[str, str]]:
    """Place and text of every docstring of the package."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def documented(name: str) -> tuple[str, dict[str, object]]:
    """The docstring of a public name, and the names of its module; tables have the module's."""
    thing = getattr(rr, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return inspect.getdoc(thing) or "", {**vars(sys.modules[thing.__module__])}
    module = sys.modules[f"rum_ray.{rr._MODULE_OF[name]}"]
    return module.__doc__ or "", {**vars(module)}


@pytest.mark.parametrize("name", rr.__all__)
def test_a_public_name_has_an_example_that_runs(name):
    text, names = documented(name)
    assert ">>> " in text, f"rr.{name} has no example"
    parser = doctest.DocTestParser()
    example = parser.get_doctest(text, names, name, None, 0)
    output: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.DocTestRunner(optionflags=flags).run(example, out=output.append)
    assert result.attempted
    assert not result.failed, "".join(output)


def test_docstrings_begin_with_their_subject():
    headless = [place for place, text in docstrings() if HEADLESS.match(text)]
    assert len(headless) <= 20, headless
