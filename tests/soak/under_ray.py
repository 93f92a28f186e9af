"""Faults of processes under Ray, drawn at random until the study ends."""

import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soak.driver import Driver, alive
from soak.outcome import Outcome
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


def run(place: Place, reference: Mapping[str, Any], until: float, draw: random.Random) -> Outcome:
    """Run the study under faults until it ends; after `until`, without any."""
    outcome, before, ended = Outcome(), set[str](), list[threading.Thread]()
    while True:
        temporary = Path(tempfile.mkdtemp(prefix="rs"))
        driver = Driver(place, temporary, "--set", "cluster.workers=2")
        code = _disturb(driver, outcome, until, draw)
        found = place.artifacts()
        outcome.verdict += compare_part(found, before, reference)
        before = {*found}
        killed = outcome.latest == "driver killed"
        said = last_line(driver.log)
        if code not in ({137} if killed else RIGHT) or (code == 5 and "rum-ray: " not in said):
            outcome.wrong.append(f"after '{outcome.latest}': exit {code}, {said[-300:]}")
            with contextlib.suppress(OSError):
                shutil.copytree(place.folder, f"{place.folder}-wrong{len(outcome.wrong)}")
        ended.append(threading.Thread(target=_check_left, args=(driver, outcome, outcome.latest)))
        ended[-1].start()
        if code == 0:
            break
    for thread in ended:
        thread.join()
    outcome.verdict += compare(place.results(), reference)
    return outcome


def _disturb(driver: Driver, outcome: Outcome, until: float, draw: random.Random) -> int | None:
    """Disturb a start until it ends; return its exit code, or None if it does not end."""
    faults, threads = 0, list[threading.Timer]()
    outcome.latest = ""
    while faults < MOST and time.monotonic() < until:
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
        outcome.latest = f"{kind} {'stopped' if stops else 'killed'}"
        outcome.faults[outcome.latest] += 1
        faults += 1
        print(f"{faults} {outcome.latest}", flush=True)
        if stops:
            seconds = draw.uniform(*STOPPED_SECONDS)
            threads.append(threading.Timer(seconds, _signal, (victim, signal.SIGCONT)))
            threads[-1].start()
    else:
        code = driver.wait(PATIENCE_SECONDS)
    for thread in threads:
        thread.join()
    if code is None:
        outcome.wrong.append(f"not ended {PATIENCE_SECONDS:.0f} s after '{outcome.latest}'")
        driver.end()
    return code


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
    outcome.sessions += len([*driver.temporary.glob("*/session_2*")])
    driver.end()
    shutil.rmtree(driver.temporary, ignore_errors=True)
