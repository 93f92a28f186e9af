"""The study of the campaign, and the comparison of its results with those of an undisturbed run."""

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from miniature import SETTINGS, flags, of_science

import rum_ray
from soak.outcome import Verdict

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
SMALL = (
    *SETTINGS,
    "search.spaces=[V0, V4]",
    "search.trials=3",
    "search.finalists=1",
    "search.fresh=1",
    "cluster.workers=1",
)
"""Few results of every kind: a start that finds all of them is short."""


@dataclass(frozen=True)
class Place:
    """A folder with the store and the output of the study."""

    folder: Path
    settings: tuple[str, ...] = SMALL
    name: str = "out"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def out(self) -> Path:
        return self.folder / self.name

    def arguments(self, *more: str) -> list[str]:
        places = ["--store", str(self.store), "--out", str(self.out)]
        return ["run", str(DEMO), *flags(*self.settings), *places, *more]

    def artifacts(self) -> dict[str, str]:
        """The SHA-256 of the file of every artifact that is in its place."""
        found = {}
        for path in sorted(self.store.glob("*/*.safetensors")):
            if path.parent.name != "quarantine" and path.is_file():
                name = str(path.relative_to(self.store))
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def results(self) -> dict[str, Any]:
        """Everything that must not differ, by name."""
        report = of_science(json.loads((self.out / "report.json").read_text("utf-8")))
        tables = {path.name: _table(path) for path in sorted(self.out.glob("*.parquet"))}
        plan = (self.out / "plan.yaml").read_bytes()
        return {"report": _flat(report), "tables": tables, "plan": plan, **self.artifacts()}


def _table(path: Path) -> str:
    """The bytes of a table, less the columns that are times."""
    idle = ["seconds", "steps_run", "cache_hits"]
    frame = pd.read_parquet(path).drop(columns=idle, errors="ignore")
    return frame.to_csv(float_format="%.17g")


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    """The leaves of a report by their place."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in _flat(part, f"{at}.{key}").items()}
    if isinstance(value, list):
        parts = enumerate(value)
        return {k: v for key, part in parts for k, v in _flat(part, f"{at}[{key}]").items()}
    return {at: repr(value)}


def compare(found: Mapping[str, Any], reference: Mapping[str, Any]) -> Verdict:
    """Compare the results of a run that went to its end with the undisturbed ones."""
    differing = sum(found[name] != reference[name] for name in found.keys() & reference.keys())
    counts = ("count", "models", "trials", "trained", "rows")
    report, right = found["report"], reference["report"]
    more = sum(
        report[leaf] != right.get(leaf)
        for leaf in report
        if leaf.rpartition(".")[2] in counts and report[leaf].isdecimal()
    )
    doubled = len(found.keys() - reference.keys()) + more
    return Verdict(len(reference.keys() - found.keys()), doubled, differing)


def compare_part(found: Mapping[str, str], before: set[str], right: Mapping[str, Any]) -> Verdict:
    """Compare the artifacts of a run that was ended with the undisturbed ones.

    Args:
        found: the artifacts.
        before: names of those that were there before the start.
        right: the undisturbed results.
    """
    differing = sum(found[name] != right[name] for name in found.keys() & right.keys())
    return Verdict(len(before - found.keys()), len(found.keys() - right.keys()), differing)


def start(place: Place, log: Path, prepare: Callable[[], None], *more: str) -> int:
    """Run the command in a fork of this process; return its exit code, or 128 and its signal."""
    code = os.waitstatus_to_exitcode(os.waitpid(forked(place, log, prepare, *more), 0)[1])
    return code if code >= 0 else 128 - code


def forked(place: Place, log: Path, prepare: Callable[[], None], *more: str) -> int:
    """Begin the command in a fork of this process; return its number.

    Args:
        place: where it runs.
        log: receives its output.
        prepare: called in the new process first.
        more: arguments of the command.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(number, 1)
        os.dup2(number, 2)
        # A test runner puts files of its own in place of these.
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
        sys.argv = ["rum-ray", *place.arguments("--address", "none", *more)]
        prepare()
        from rum_ray.cli.app import main

        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def last_line(log: Path) -> str:
    """The last line of the output of a run."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def undrawn() -> None:
    """Leave out the page of the report: it takes most of the time of a start."""
    from rum_ray.report import files

    files.sections = lambda *given: []
    files.html = files.markdown = SimpleNamespace(render=lambda sections: "")


def undisturbed(place: Place) -> dict[str, Any]:
    """Run the study without faults, in this process, and return its results.

    Whatever the command imports is then loaded in the forks of this process, too.
    """
    import rum_ray.cli.app
    import rum_ray.cli.commands
    from rum_ray import config

    undrawn()
    rum_ray.run(config.load(DEMO, place.settings), out=place.out, store=place.store)
    return place.results()
