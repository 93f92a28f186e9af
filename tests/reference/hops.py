"""Count the modules of rum_ray that a report passes through, and the calls that climb layers.

`python tests/reference/hops.py` does the jobs of a small study in this process. Then it prints, for
reading the outcome and for `summarize`, the number of modules whose own code runs, of pairs of
modules with a call from one to the other, and of climbs: calls from a module to one in a higher
layer of tests/test_architecture.py. Methods that `dataclass` generates are no code of a module.
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
from rum_ray.jobs import Context
from rum_ray.results.load import load_outcome
from rum_ray.results.summary import summarize
from rum_ray.store import Store
from rum_ray.study.study import Study

TESTS = Path(__file__).resolve().parents[1]
LAYER: Mapping[str, int] = runpy.run_path(str(TESTS / "test_architecture.py"))["LAYER"]
EXPERIMENT = {
    "name": "hops",
    "data": {"name": "digits", "label_noise": 0.1},
    "recipe": {"model": "mlp", "epochs": 4},
    "score": {"models": 16, "fraction": 0.5},
    "forget": {"size": 200},
    "plan": {"low": "nothing", "medium": "nothing", "high": {"name": "finetune", "epochs": 1}},
    "search": {
        "trials": 2,
        "finalists": 2,
        "spaces": ["V0", "V1"],
        "max_cost": 9.0,
        "unlearners": ["nothing", {"name": "finetune", "epochs": 1}],
    },
}
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
    """Return the module of rum_ray whose code a frame runs; None for other code."""
    name = str(frame.f_globals.get("__name__", ""))
    own = name.startswith("rum_ray.") and frame.f_code.co_filename.endswith(".py")
    return name if own else None


def _layer(module: str) -> int:
    """Return the layer of a module."""
    return LAYER[module.split(".")[1]]


def traces(folder: Path) -> dict[str, Trace]:
    """Return the calls of reading a finished study and of summarizing it.

    Args:
        folder: of the store.
    """
    sys.path.insert(0, str(TESTS))
    from reference.finished import finish

    experiment = config.parse(EXPERIMENT)
    context = Context(experiment.load_data(), Store(folder))
    finish(Study(experiment, context))
    # A new study, and a new context: everything is read again.
    study = Study(experiment, Context(context.bundle, context.store))
    outcome, reading = trace(lambda: load_outcome(study))
    _, summarizing = trace(lambda: summarize(outcome))
    return {"load_outcome": reading, "summarize": summarizing}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        for name, found in traces(Path(folder)).items():
            numbers = f"{len(found.modules)} modules, {len(found.calls)} pairs"
            print(f"{name}: {numbers}, {len(found.climbs)} climbs")
            for climb in found.climbs:
                print("  climbs:", *climb)
            if name == "summarize":
                print("  " + "\n  ".join(sorted(found.modules)))


if __name__ == "__main__":
    main()
