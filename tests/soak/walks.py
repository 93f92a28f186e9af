"""Whole studies whose every operation on a file fails once, whose files are damaged, and the like.

The study runs without Ray in forks of this process, so a start takes about a second.
"""

import contextlib
import errno
import os
import random
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

from soak.calls import CHANGES, Calls, dies, fails, teller
from soak.outcome import Enough, Outcome
from soak.study import Place, compare, compare_part, forked, last_line, start, undrawn

MODES = {
    "killed before the call": (None, ()),
    "input/output error": (errno.EIO, ()),
    "disk full": (errno.ENOSPC, CHANGES),
    "permission denied": (errno.EACCES, ()),
    "stale network folder": (errno.ESTALE, ()),
}
"""The error that operations raise, None for a dead process; the operations, () for all."""
RIGHT = {0, 6, 137}
"""Exit codes after such a fault: nothing depends on it, a file cannot be used, killed."""
UNKNOWN = "experiment.yaml"
"""A folder whose experiment cannot be read may hold another one: exit code 4."""


def walk(
    mode: str,
    place: Place,
    reference: Mapping[str, Any],
    enough: Enough,
    share: float,
    draw: random.Random,
) -> Outcome:
    """Run the study until it ends; at each start, the next operation that has not failed fails.

    So each operation of the study fails once, and every start begins with the store that the one
    before left. After enough faults the study goes on without, and is compared all the same.

    Args:
        mode: a key of MODES.
        place: a folder of its own.
        reference: the results of the undisturbed run.
        enough: the end of the faults.
        share: of the operations that fail, in (0, 1].
        draw: draws them.
    """
    error, events = MODES[mode]
    outcome, known, log = Outcome(), set[str](), place.folder / "log"
    told, salt = place.folder / "fault", draw.random()

    def wanted(event: str, name: str) -> bool:
        is_meant = not enough(outcome) and (not events or event in events)
        return is_meant and random.Random(f"{salt} {name}").random() < share

    def prepare() -> None:
        lighten()
        tell = teller(told)
        act = dies(tell) if error is None else fails(error, tell)
        Calls((place.store, place.out), known, wanted, act).__enter__()

    before: set[str] = set()
    while True:
        code = start(place, log, prepare)
        fault = told.read_text()
        if fault:
            known.add(fault)
            outcome.faults[mode] += 1
        right = {*(RIGHT if fault else {0}), *({4} if UNKNOWN in fault else ())}
        if code not in right or (code in (4, 6) and not last_line(log).startswith("rum-ray: ")):
            said = f"{fault or 'nothing'}: exit {code}, {last_line(log)}"
            outcome.wrong.append(f"{mode} at {said.replace(str(place.folder), '')}")
        found = place.artifacts()
        outcome.verdict += compare_part(found, before, reference)
        before = {*found}
        if not fault:
            break
    outcome.verdict += compare(place.results(), reference)
    return outcome


def lighten() -> None:
    """Keep a state after each epoch, not after each 30 s; leave out the page, which takes long."""
    from rum_ray import resume

    clock = count(0, 31)
    resume.time = SimpleNamespace(monotonic=lambda: next(clock))
    undrawn()


def back(place: Place, reference: Mapping[str, Any], draw: random.Random) -> Outcome:
    """Run the study while the clock of the machine jumps back again and again."""
    outcome, now = Outcome(), time.time()

    def prepare() -> None:
        lighten()
        offset = 0.0

        def jumping() -> float:
            nonlocal offset
            if draw.random() < 0.2:
                offset -= draw.uniform(0, 86_400)
            return now + offset

        time.time = jumping

    code = start(place, place.folder / "log", prepare)
    outcome.faults["the clock jumps back"] += 1
    if code:
        outcome.wrong.append(f"clock: exit {code}, {last_line(place.folder / 'log')}")
    outcome.verdict += compare(place.results(), reference)
    return outcome


def both(place: Place, reference: Mapping[str, Any], draw: random.Random) -> Outcome:
    """Run two commands on one store at a time, one of which is killed and started again."""
    outcome = Outcome()
    other = replace(place, name="other")
    first = forked(place, place.folder / "log", lighten)
    second = forked(other, place.folder / "log2", lighten)
    outcome.faults["two drivers on one store"] += 1
    time.sleep(draw.uniform(0.5, 4.0))
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, 9)
    outcome.faults["driver of two killed"] += 1
    os.waitpid(first, 0)
    codes = [start(place, place.folder / "log", lighten)]
    codes.append(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
    if any(codes):
        outcome.wrong.append(f"two drivers: exit {codes}, {last_line(place.folder / 'log2')}")
        return outcome
    for each in (place, other):
        outcome.verdict += compare(each.results(), reference)
    return outcome


def full(
    place: Place, reference: Mapping[str, Any], enough: Enough, draw: random.Random
) -> Outcome:
    """Run the study on a file system that is full again and again; it needs root."""
    outcome, log, size = Outcome(), place.folder / "log", 200
    disk = replace(place, folder=place.folder / "disk")
    disk.folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk.folder)]
    if os.geteuid() or subprocess.run(options, check=False).returncode:
        return outcome
    try:
        before: set[str] = set()
        while (code := start(disk, log, lighten)) != 0:
            outcome.faults["file system full"] += 1
            if code != 6 or not last_line(log).startswith("rum-ray: "):
                outcome.wrong.append(f"full at {size} KiB: exit {code}, {last_line(log)}")
            found = disk.artifacts()
            outcome.verdict += compare_part(found, before, reference)
            before = {*found}
            size += draw.randrange(20, 400) if not enough(outcome) else 100_000
            grow = ["mount", "-o", f"remount,size={size}k", str(disk.folder)]
            subprocess.run(grow, check=True)
        outcome.verdict += compare(disk.results(), reference)
    finally:
        subprocess.run(["umount", str(disk.folder)], check=True)
    return outcome
