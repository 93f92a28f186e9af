"""Count the modules that `summarize` passes through, and the calls from a lower layer to a higher.

`python benchmarks/hops.py` does the jobs of a small study in this process, and prints for
`load_outcome` and for `summarize`: the modules of rum_ray whose functions were called; the pairs of
modules of which one calls the other; and the climbs, pairs in which the caller lies in a lower layer
(tests/test_architecture.py). Constructors that `dataclass` generates count as calls too.
"""

import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rum_ray import config
from rum_ray.data import load
from rum_ray.jobs import Context
from rum_ray.results.load import load_outcome
from rum_ray.results.summary import summarize
from rum_ray.store import Store
from rum_ray.study.study import Study

TESTS = Path(__file__).resolve().parents[1] / "tests"
LAYER: Mapping[str, int] = runpy.run_path(str(TESTS / "test_architecture.py"))["LAYER"]
T = TypeVar("T")


@dataclass(frozen=True)
class Trace:
    """The calls of a function.

    Attributes:
        modules: whose functions were called.
        calls: pairs of different modules, caller first.
    """

    modules: frozenset[str]
    calls: frozenset[tuple[str, str]]

    @property
    def climbs(self) -> list[tuple[str, str]]:
        """The calls from a lower layer to a higher one."""
        return sorted(pair for pair in self.calls if _layer(pair[0]) < _layer(pair[1]))


def trace(function: Callable[[], T]) -> tuple[T, Trace]:
    """Return the result of a function, and the calls within rum_ray."""
    modules: set[str] = set()
    calls: set[tuple[str, str]] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        module = _module(frame)
        if event != "call" or module is None:
            return
        modules.add(module)
        caller = None if frame.f_back is None else _module(frame.f_back)
        if caller is not None and caller != module:
            calls.add((caller, module))

    sys.setprofile(watch)
    try:
        result = function()
    finally:
        sys.setprofile(None)
    return result, Trace(frozenset(modules), frozenset(calls))


def _module(frame: FrameType) -> str | None:
    """Return the module of rum_ray that a frame runs in; None for other code."""
    name = str(frame.f_globals.get("__name__", ""))
    return name if name.startswith("rum_ray.") else None


def _layer(module: str) -> int:
    """Return the layer of a module."""
    return LAYER[module.split(".")[1]]
