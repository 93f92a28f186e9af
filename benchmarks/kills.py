"""Effective time of two workers of which one is killed per minute, against the same without kills.

Jobs take 5 s and only sleep, so what is lost is a job in hand and the time until the replacement
asks for its first job. The effective time is the share of the workers' time that went into
finished jobs, from the first hand-out to the last result. The same scenario is simulated with the
measured time of a replacement, which checks `scale.py` at a size that a machine can run.
"""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from statistics import mean

from _harness import Row, save
from _nap import Nap
from _simulation import Scenario, Simulation

from rum_ray.cluster.executor import RayExecutor
from rum_ray.data import load
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.progress import ProgressState

WORKERS, SECONDS, EVERY, JOBS = 2, 5.0, 60.0, 60


def effective(executor: RayExecutor, context: Context, first: int, kill: bool) -> float:
    """Return the effective time of a stage."""
    root, ended = Path(context.store.root), threading.Event()
    states: list[tuple[float, ProgressState]] = []

    def killer() -> None:
        while not ended.wait(EVERY):
            pids = [int(path.name.partition("-")[2]) for path in root.glob("worker-*")]
            alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
            os.kill(alive[0], signal.SIGKILL)
            killed.append(time.monotonic())

    def on_progress(state: ProgressState) -> ProgressState:
        states.append((time.monotonic(), state))
        return state

    killed: list[float] = []
    if kill:
        threading.Thread(target=killer, daemon=True).start()
    naps = [Nap(first + number, SECONDS) for number in range(JOBS)]
    executor.run("naps", naps, context, on_progress)
    ended.set()
    for at in killed:
        back = [when for when, state in states if when > at + 1.0 and state.workers == WORKERS]
        RESTARTS.append(back[0] - at if back else 0.0)
    return JOBS * SECONDS / (WORKERS * states[-1][1].seconds)


RESTARTS: list[float] = []


def main() -> None:
    """Run the stage with and without kills, and its simulation."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    with tempfile.TemporaryDirectory() as folder:
        context = Context(load("digits"), Store(folder))
        with RayExecutor(config=ClusterConfig(workers=WORKERS)) as executor:
            bare = effective(executor, context, 0, kill=False)
            hurt = effective(executor, context, JOBS, kill=True)
    restart = mean(RESTARTS)
    scenario = Scenario(
        JOBS, WORKERS, WORKERS, SECONDS, death_every=EVERY, restart=restart, checkpoint=0.0
    )
    runs = [Simulation(scenario, seed).run().effective for seed in range(50)]
    rows = [
        Row("effective time, a worker killed per minute", ">= 85 %", "1", 100 * hurt),
        Row("effective time without kills", "-", "1", 100 * bare),
        Row("effective time, simulated", "-", "1", 100 * mean(runs)),
        Row("time until a replacement is there", "<= 15 s", "-", restart),
    ]
    notes = {
        "restarts": RESTARTS,
        "jobs": JOBS,
        "seconds": SECONDS,
        "simulated": [min(runs), max(runs)],
    }
    save("kills", rows, {}, "jobs", **notes)


if __name__ == "__main__":
    main()
