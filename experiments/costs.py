"""The cost of the paper's items: planned trainings, device-hours of this machine, and memory.

Neither data nor scores are read: black images of the same number and shape stand in for them, with
an empty store. Trainings are counted, so they are the same everywhere, and an upper bound, as in a
dry run: what the studies of an item share counts once in the first stage, and in each study later.
Device-hours are trainings times the measured time of one; models of another recipe have a time of
their own. Memory is that of a worker on the CPU, at most, with the data that all workers of a
machine share. `rum-ray estimate` knows more: the time of single steps, and of evaluations.

    .venv/bin/python experiments/costs.py
"""

import json
import tempfile
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from rum_ray.data import DataBundle
from rum_ray.experiment import DataConfig, to_plain
from rum_ray.jobs import Context
from rum_ray.paper.blank import without_files
from rum_ray.paper.catalogue import Study as Part
from rum_ray.paper.catalogue import catalogue, studies
from rum_ray.results.environment import machine
from rum_ray.store import Store
from rum_ray.study.calibration import Calibration, calibrate
from rum_ray.study.costs import job_cost
from rum_ray.study.resources import worker_bytes
from rum_ray.study.stages import wanted_stages
from rum_ray.study.study import Study
from rum_ray.study.times import job_seconds, training_seconds

RESULT = Path(__file__).parent / "results" / "costs.json"


@cache
def blank(data: str) -> DataBundle:
    """Return the stand-in of a data set; `data` is the section of an experiment file."""
    section = json.loads(data)
    return DataConfig(section.pop("name"), section).load()


def opened(part: Part) -> Study:
    """Return a study of one repeat, without its files and with an empty store."""
    absent = ("data.root=/nonexistent", "repeats=1", "cluster.workers=1")
    experiment = part.experiment((*absent, *without_files(part.experiment(absent))))
    data = json.dumps(to_plain(experiment.data))
    context = Context(blank(data), Store(tempfile.mkdtemp()))
    # Keys tell the jobs of an item apart; the digest of a gigabyte of black pixels takes seconds.
    vars(context)["train_fingerprint"] = {"train": data}
    return Study(experiment, context)


def cost(parts: tuple[Part, ...], rates: Calibration) -> dict[str, Any]:
    """Return the cost of all studies of an item."""
    seen, spent, seconds, memory, names = set[str](), 0.0, 0.0, 0, dict[str, str]()
    for part in parts:
        study, whole = opened(part), part.experiment()
        names[part.name] = whole.digest
        known = {study.context.key(job).digest: job for job in study.first_jobs}
        new = [job for key, job in known.items() if key not in seen]
        seen |= known.keys()
        later = sum(
            bound.trainings
            for name, stage in wanted_stages(study, "run").items()
            if name != "train"
            for bound in stage.bound(study)
        )
        once = training_seconds(rates, study.recipe, len(study.context.bundle.train))
        spent += whole.repeats * (sum(job_cost(study, job) for job in new) + later)
        known_seconds = sum(job_seconds(study, job, rates) for job in new)
        seconds += whole.repeats * (known_seconds + later * once)
        memory = max(memory, worker_bytes(study, rates))
    return {
        "studies": names,
        "trainings": round(spent, 1),
        "device_hours": float(f"{seconds / 3600:.3g}"),
        "worker_gib": float(f"{memory / 2**30:.3g}"),
    }


def main() -> None:
    """Write the cost of every item with every data set."""
    found: dict[str, dict[str, Any]] = {}
    settings = [("small", "cifar10"), *(("paper", data) for data in catalogue().settings)]
    for preset, data in settings:
        rates = calibrate(opened(studies("table1", data, preset)[0]))
        for name, item in catalogue().items.items():
            if item.data and data not in item.data:
                continue
            found[f"{name} {data} {preset}"] = cost(studies(name, data, preset), rates)
            print(name, data, preset, found[f"{name} {data} {preset}"], flush=True)
    tree = {"date": date.today().isoformat(), "machine": machine(), "items": found}
    RESULT.write_text(json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main()
