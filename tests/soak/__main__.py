"""The fault campaign: `make soak`, or `python -m soak --seed N --minutes M` in the folder tests.

Each part gets a share of the time, and prints its faults by kind. The counts of all calls are kept
in results.json beside this file, so that several calls add up; the last line is about all of them.
"""

import argparse
import contextlib
import json
import logging
import random
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from soak import damage, operations, under_ray, walks
from soak.outcome import Enough, Outcome
from soak.study import Place, undisturbed

RESULTS = Path(__file__).with_name("results.json")
Part: TypeAlias = Callable[[Place, Mapping[str, Any], Enough, random.Random], Outcome]
"""Injects faults into the study in a place until they are enough; returns their count."""


def _operations(
    kind: str, place: Place, right: Mapping[str, Any], enough: Enough, draw: random.Random
) -> Outcome:
    return operations.operations(place.folder / "stores", kind, enough, draw)


def _walk(
    mode: str, place: Place, right: Mapping[str, Any], enough: Enough, draw: random.Random
) -> Outcome:
    return walks.walk(mode, place, right, enough, 1.0, draw)


def _again(
    run: Callable[[Place, Mapping[str, Any], random.Random], Outcome],
    place: Place,
    right: Mapping[str, Any],
    enough: Enough,
    draw: random.Random,
) -> Outcome:
    """Disturb one study after the other."""
    outcome = Outcome()
    while not enough(outcome):
        place.folder.mkdir(exist_ok=True)
        outcome += run(place, right, draw)
        shutil.rmtree(place.folder)
    return outcome


STORE: Mapping[str, Part] = {
    **{f"store, {kind}": partial(_operations, kind) for kind in operations.ERRORS},
    **{f"study, {mode}": partial(_walk, mode) for mode in walks.MODES},
    "study, damaged files": damage.damage,
    "study, clock": partial(_again, walks.back),
    "study, two drivers": partial(_again, walks.both),
    "study, full file system": walks.full,
}
PARTS: Mapping[str, Part] = {**STORE, "Ray": under_ray.run}
RAY_SHARE = 0.7
"""Share of the time for the faults under Ray, which take longest."""


def main() -> None:
    """Run the parts, keep their counts, and print the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--only", default="", help="parts whose names begin with this")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("rum_ray").setLevel(logging.ERROR)
    print(f"seed {given.seed}", flush=True)
    parts = {name: part for name, part in PARTS.items() if name.startswith(given.only)}
    share = RAY_SHARE if "Ray" in parts and len(parts) > 1 else 0.0
    total = Outcome()
    with tempfile.TemporaryDirectory(dir=_fast(), ignore_cleanup_errors=True) as folder:
        # The faults of the store alone need no study.
        is_alone = all(name.startswith("store") for name in parts)
        right = {} if is_alone else undisturbed(Place(Path(folder) / "undisturbed"))
        for number, (name, part) in enumerate(parts.items()):
            rest = 1 - share if name != "Ray" else share or 1.0
            seconds = 60 * given.minutes * rest / (1 if name == "Ray" else len(parts) - bool(share))
            place = Place(Path(folder) / f"part{number}")
            place.folder.mkdir()
            draw = random.Random(f"{given.seed} {name}")
            end = time.monotonic() + seconds
            outcome = part(place, right, lambda sum, end=end: time.monotonic() > end, draw)
            _keep(given, name, outcome)
            print(f"{name}: {line(outcome)}", flush=True)
            for wrong in outcome.wrong:
                print(f"  {wrong}", flush=True)
            total += outcome
    print("\n".join(f"{count:6d}  {kind}" for kind, count in sorted(total.faults.items())))
    print(f"seed {given.seed}: {line(total)}")
    print(f"all calls: {line(kept())}")
    verdict = total.verdict
    raise SystemExit(bool(total.wrong or verdict.lost or verdict.doubled or verdict.differing))


def line(outcome: Outcome) -> str:
    """The sentence on a campaign."""
    verdict = outcome.verdict
    return (
        f"{outcome.faults.total()} injected faults: {verdict.lost} lost models, "
        f"{verdict.doubled} counted twice, {verdict.differing} differing bits; "
        f"{len(outcome.wrong)} wrong ends"
    )


def _fast() -> str | None:
    """A folder in memory, if there is one: thousands of synchronized writes take long on a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _keep(given: argparse.Namespace, part: str, outcome: Outcome) -> None:
    """Add the count of a part to the file."""
    arguments = f"--seed {given.seed} --minutes {given.minutes:g} --only '{given.only}'"
    entry = {
        "command": f'make soak SOAK="{arguments}"',
        "part": part,
        "faults": dict(outcome.faults),
        "lost": outcome.verdict.lost,
        "doubled": outcome.verdict.doubled,
        "differing": outcome.verdict.differing,
        "wrong": outcome.wrong,
    }
    RESULTS.write_text(json.dumps([*_entries(), entry], indent=1) + "\n")


def _entries() -> list[dict[str, Any]]:
    """The counts that are kept."""
    with contextlib.suppress(FileNotFoundError):
        entries: list[dict[str, Any]] = json.loads(RESULTS.read_text())
        return entries
    return []


def kept() -> Outcome:
    """The sum of all counts that are kept."""
    total = Outcome()
    for entry in _entries():
        total.faults += Counter(entry["faults"])
        total.verdict.lost += entry["lost"]
        total.verdict.doubled += entry["doubled"]
        total.verdict.differing += entry["differing"]
        total.wrong += entry["wrong"]
    return total


if __name__ == "__main__":
    main()
