"""Faults of processes under Ray, drawn at random until the study ends."""

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from soak.driver import Driver, alive
from soak.outcome import Enough, Outcome
from soak.study import Place, compare, compare_part, last_line

WEIGHTS = {
    "Train worker": 20,
    "trial": 20,
    "Data actor": 20,
    "Train controller": 2,
    "queue": 0.5,
    "raylet": 0.5,
    "GCS": 0.5,
    "driver": 0.5,
}
"""How often a process of each kind is drawn, relative to the others that are alive."""
GAP_SECONDS = (0.3, 2.5)
STOPPED_SECONDS = (1.0, 60.0)
STOPPED = 0.35
"""Share of the faults that stop a process for a while; the others kill it."""
EARLY = 0.01
"""Share of the draws that count before the first worker is there, while Ray starts."""
MOST = 60
"""Faults of a start; then it is left alone, so that it ends."""
PATIENCE_SECONDS = 1800.0
"""A start must end so long after its last fault, also on a busy machine."""
LEFT_SECONDS = 30.0
RIGHT = {0, 5}


def run(place: Place, reference: Mapping[str, Any], enough: Enough, draw: random.Random) -> Outcome:
    """Run one study after the other under faults, each to its end, until that is enough."""
    outcome = Outcome()
    for number in count():
        folder = place.folder / f"study{number}"
        folder.mkdir()
        _study(replace(place, folder=folder), reference, enough, draw, outcome)
        if enough(outcome):
            return outcome
    raise AssertionError


def _study(
    place: Place,
    reference: Mapping[str, Any],
    enough: Enough,
    draw: random.Random,
    outcome: Outcome,
) -> None:
    """Run a study under faults until it ends; after enough of them, without."""
    before, checks = set[str](), list[threading.Thread]()
    while True:
        temporary = Path(tempfile.mkdtemp(prefix="rs"))
        driver = Driver(place, temporary, "--set", "cluster.workers=2")
        code, latest = _disturb(driver, outcome, enough, draw)
        found = place.artifacts()
        outcome.verdict += compare_part(found, before, reference)
        before = {*found}
        said = last_line(driver.log)
        right = {137} if latest == "driver killed" else RIGHT
        if code not in right or (code == 5 and "rum-ray: " not in said):
            outcome.wrong.append(f"after '{latest}': exit {code}, {said[-300:]}")
            shutil.copytree(place.folder, f"{place.folder}-wrong{len(outcome.wrong)}")
        checks.append(threading.Thread(target=_check_left, args=(driver, outcome, latest)))
        checks[-1].start()
        print(f"  {outcome.faults.total()} faults; exit {code} after '{latest}'", flush=True)
        if code == 0:
            break
    for check in checks:
        check.join()
    outcome.verdict += compare(place.results(), reference)


def _disturb(
    driver: Driver, outcome: Outcome, enough: Enough, draw: random.Random
) -> tuple[int | None, str]:
    """Disturb a start until it ends; return its exit code, None without an end, and its last fault.

    After the most faults of a start, and after enough of all, it is left alone.
    """
    faults, threads, latest = 0, list[threading.Timer](), ""
    while faults < MOST and not enough(outcome):
        if (code := driver.wait(draw.uniform(*GAP_SECONDS))) is not None:
            break
        there = {kind: driver.pids(kind) for kind in WEIGHTS}
        kinds = [kind for kind in WEIGHTS if there[kind]]
        if "Train worker" not in kinds and draw.random() > EARLY:
            continue
        kind = draw.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        victim, stops = draw.choice(there[kind]), draw.random() < STOPPED
        if not _signal(victim, signal.SIGSTOP if stops else signal.SIGKILL):
            continue
        latest = f"{kind} {'stopped' if stops else 'killed'}"
        outcome.faults[latest] += 1
        faults += 1
        if stops:
            seconds = draw.uniform(*STOPPED_SECONDS)
            threads.append(threading.Timer(seconds, _signal, (victim, signal.SIGCONT)))
            threads[-1].start()
    else:
        code = driver.wait(PATIENCE_SECONDS)
    for thread in threads:
        thread.join()
    if code is None:
        outcome.wrong.append(f"not ended {PATIENCE_SECONDS:.0f} s after '{latest}'")
        driver.end()
    return code, latest


def _signal(pid: int, number: int) -> bool:
    """Send a signal; return False if there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _check_left(driver: Driver, outcome: Outcome, latest: str) -> None:
    """Check that nothing of a start is left half a minute after its end."""
    time.sleep(LEFT_SECONDS)
    left = [line.split()[0] for _, line in alive(driver.temporary)]
    if left:
        outcome.wrong.append(f"left after '{latest}': {', '.join(left)}")
    if [*driver.temporary.glob("rum-ray-*/r*")]:
        outcome.wrong.append(f"a folder of Ray is left after '{latest}'")
    driver.end()
    shutil.rmtree(driver.temporary, ignore_errors=True)
