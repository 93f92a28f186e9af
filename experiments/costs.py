"""The cost of the paper's items: planned trainings, and device-hours measured on this machine.

Neither data nor scores are read: black images of the same number and shape stand in for them, with
an empty store. Trainings are counted, so they are the same everywhere, and an upper bound: what the
studies of an item share counts once in the first stage, and in each study later. Device-hours are
expected times on one worker of this machine.

    .venv/bin/python experiments/costs.py
"""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from rum_ray.jobs import Context
from rum_ray.jobs.job import Keyed
from rum_ray.paper.blank import without_files
from rum_ray.paper.catalogue import Study as Part
from rum_ray.paper.catalogue import catalogue, studies
from rum_ray.results.environment import machine
from rum_ray.store import Store
from rum_ray.study.calibration import Calibration, calibrate
from rum_ray.study.costs import job_cost
from rum_ray.study.forecast import Forecast, counted, timed
from rum_ray.study.study import Study
from rum_ray.study.times import job_seconds

RESULT = Path(__file__).parent / "results" / "costs.json"
WIDEST = "memorization"
"""The item with all unlearners: its first study tells the speed of a setting."""


def opened(part: Part) -> Study:
    """Return a study of one repeat, without its files and with an empty store."""
    absent = ("data.root=/nonexistent", "repeats=1")
    experiment = part.experiment((*absent, *without_files(part.experiment(absent))))
    return Study(experiment, Context(experiment.load_data(), Store(tempfile.mkdtemp())))


def cost(parts: tuple[Part, ...], rates: Calibration) -> dict[str, Any]:
    """Return the cost of all studies of an item."""
    seen: set[str] = set()
    trainings = hours = 0.0
    for part in parts:
        study, repeats = opened(part), part.experiment().repeats
        lines = timed(study, counted(study, "run"), rates)
        again = [job for line in lines[:1] for job in shared(line, study, seen)]
        trainings += repeats * (sum(line.trainings for line in lines) - spent(study, again))
        seconds = sum(sum(line.work.seconds) for line in lines)
        hours += repeats * (seconds - sum(job_seconds(study, j, rates) for j in again)) / 3600
    return {
        "studies": {part.name: part.experiment().digest for part in parts},
        "trainings": round(trainings, 1),
        "device_hours": float(f"{hours:.3g}"),
    }


def shared(line: Forecast, study: Study, seen: set[str]) -> list[Keyed]:
    """Return the jobs of a first stage that an earlier study has, too; all become seen."""
    keys = {study.context.key(job).digest: job for job in line.jobs}
    again = [job for key, job in keys.items() if key in seen]
    seen |= keys.keys()
    return again


def spent(study: Study, jobs: list[Keyed]) -> float:
    """Return the cost of jobs in trainings of the original."""
    return sum(job_cost(study, job) for job in jobs)


def main() -> None:
    """Write the cost of every item with every data set."""
    found: dict[str, dict[str, Any]] = {}
    settings = [("small", "cifar10"), *(("paper", data) for data in catalogue().settings)]
    for preset, data in settings:
        rates = calibrate(opened(studies(WIDEST, data, preset)[0]))
        for name, item in catalogue().items.items():
            if item.data and data not in item.data:
                continue
            found[f"{name} {data} {preset}"] = cost(studies(name, data, preset), rates)
            print(name, data, preset, found[f"{name} {data} {preset}"], flush=True)
    tree = {"date": date.today().isoformat(), "machine": machine(), "items": found}
    RESULT.write_text(json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main()
