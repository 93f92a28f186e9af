"""The race against trying every plan on every seed, and joined steps against one unlearner.

Each root is the root of all draws of a search: originals, retrained references, proposals. All
searches of a root share its models, and all roots share the reported seeds and T, on which the
picks are measured. The reference is the surrogate, as for a real request.

- "all seeds": V4 at 22 trainings, every plan on all three search seeds. The best mean of J over the
  search seeds and two fresh seeds, among the best three plans, is the pick.
- "race": V4 at 22 trainings with the race, six finalists, five fresh seeds and both attacks.
- "single" and "joined", under the caps 0.5 and 0.2: V0 with the budget of the whole chain, and V5,
  which starts from the first half of V0's trials.

The result is written after each root, so a run that is cut has the roots that it finished.

    .venv/bin/python experiments/racing.py [STORE]
"""

import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

import rum_ray
from rum_ray import config
from rum_ray.evaluation.statistics import compare
from rum_ray.jobs import Context, Evaluate, SearchJob
from rum_ray.jobs import proposals as proposing
from rum_ray.jobs.ledger import Result, objective
from rum_ray.results.environment import machine
from rum_ray.rum import Plan
from rum_ray.search.race import Unit, promoted
from rum_ray.store import Store
from rum_ray.study.searches import Searches
from rum_ray.study.spaces import moved_plan
from rum_ray.study.study import Study
from rum_ray.study.worker_pool import WORKER_SETTINGS

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
RESULT = Path(__file__).parent / "results" / "racing.json"
ROOTS, PROCESSES = range(100, 120), 2
BUDGETS = {0.5: 22, 0.2: 9}
Values = dict[str, dict[str, list[float]]]
"""Metrics by pick, each one value per reported seed."""


def study(store: str, root: int, cap: float, spaces: str, batch: int = 12) -> Study:
    """Return the demo with other searches."""
    search = {"seed": root, "max_cost": cap, "budget": BUDGETS[cap], "spaces": spaces}
    search |= {"reference": "surrogate", "also": "[]", "batch": batch}
    changes = [f"search.{key}={value}" for key, value in search.items()]
    experiment = config.load(DEMO, [*changes, "compare=[]", "plan="])
    return Study(experiment, Context(experiment.load_data(), Store(store)))


def prepare(store: str) -> None:
    """Train what all roots share: the pool, the originals, and the references on T."""
    demo = study(store, ROOTS[0], 0.5, "[V0, V5]")
    for job in (*demo.scoring.jobs, *demo.originals):
        demo.context.get_or_compute(job)
    for job in demo.retrained:
        demo.context.get_or_compute(job)


def compute(of: Study) -> None:
    """Run the searches of a study in this process, up to the fresh seeds."""
    context = of.context
    for job in (*of.search_originals, *of.reference_jobs):
        context.get_or_compute(job)
    for tests in of.range_tests.values():
        for _, job in tests:
            context.get_or_compute(job)
    running = Searches([*of.searches.values()], context)
    while not running.finished:
        for request in [*iter(running.propose, None)]:
            stored = context.get_or_compute(running.job(request)).value
            running.tell(request, Result.read(stored))
    for unit in of.validations:
        context.get_or_compute(unit)


def on_all_seeds(results: Sequence[Sequence[float]], seeds: int) -> list[Unit]:
    """Return the units by which every plan is tried on every seed; replaces `promoted`."""
    return [Unit(n, len(r)) for n, r in enumerate(results) if len(r) < seeds]


def pick_of_five(search: SearchJob, context: Context) -> Plan:
    """Return the best of three plans by the mean of J over all search seeds and two fresh ones."""
    seeds = range(search.config.seeds, search.config.seeds + 2)
    found = []
    for trial in search.best(search.ledger(context))[:3]:
        fresh = [
            Result.read(context.get_or_compute(search.unit(trial.plan, s)).value) for s in seeds
        ]
        values = [*trial.by_seed(search.config), *(objective(r, search.config) for r in fresh)]
        found.append((float(np.mean(values)), trial.plan))
    return max(found, key=lambda pair: pair[0])[1]


def measured(of: Study, plan: Plan) -> dict[str, list[float]]:
    """Return the metrics of a pick on the reported seeds and T."""
    moved, found = moved_plan(plan, of.partition), []
    for original, retrained in zip(of.originals, of.retrained, strict=True):
        made = Evaluate(original, of.partition, original.seed / "plan", "test", moved)
        reference = Evaluate(retrained, of.partition, retrained.seed, "test")
        for job in (made, reference):
            of.context.get_or_compute(job)
        metrics = made.load(of.context).against(reference.load(of.context))
        metrics["auc"] = metrics["tow"] - metrics["auc_gap"]
        metrics["svm"] = metrics["tow"] - metrics["mia_gap"]
        found.append(metrics)
    names = ("auc", "svm", "tow_examples", "cost")
    return {name: [metrics[name] for metrics in found] for name in names}


def searched(store: str, root: int) -> tuple[int, Values]:
    """Return a root, and the metrics of its picks."""
    torch.set_num_threads(1)
    found: Values = {}
    race = study(store, root, 0.5, "[V4]")
    compute(race)
    found["race"] = measured(race, race.rungs[0].pick(race.context))
    # Another size of the batches gives this search a key of its own.
    every = study(store, root, 0.5, "[V4]", batch=11)
    proposing.promoted = on_all_seeds
    compute(every)
    proposing.promoted = promoted
    found["all seeds"] = measured(every, pick_of_five(every.rungs[0], every.context))
    for cap in BUDGETS:
        chain = study(store, root, cap, "[V0, V5]")
        compute(chain)
        single, joined = chain.rungs
        found[f"single {cap}"] = measured(chain, single.pick(chain.context))
        found[f"joined {cap}"] = measured(chain, joined.pick(chain.context))
    return root, found


def difference(found: Mapping[int, Values], ours: str, theirs: str, metric: str) -> dict[str, Any]:
    """Return the paired comparison of two picks over the roots, by their means over the seeds."""
    a, b = (
        [float(np.mean(values[name][metric])) for values in found.values()]
        for name in (ours, theirs)
    )
    result = compare(a, b)
    return {"ours": ours, "theirs": theirs, "metric": metric, **dataclasses.asdict(result)}


def summary(found: Mapping[int, Values]) -> dict[str, Any]:
    """Return the comparisons, and the mean over roots of the worst reported seed of a pick."""
    pairs = [("race", "all seeds"), *((f"joined {cap}", f"single {cap}") for cap in BUDGETS)]
    metrics = ("auc", "svm", "tow_examples")
    names = [*next(iter(found.values()))]
    return {
        "comparisons": [difference(found, *pair, metric) for pair in pairs for metric in metrics],
        "worst_seed": {
            name: float(np.mean([min(values[name]["auc"]) for values in found.values()]))
            for name in names
        },
        "means": {
            name: {
                metric: float(np.mean([values[name][metric] for values in found.values()]))
                for metric in (*metrics, "cost")
            }
            for name in names
        },
    }


def write(found: Mapping[int, Values], minutes: float) -> dict[str, Any]:
    """Write the result of the finished roots, and return it."""
    result = {
        "experiment": "racing",
        "date": date.today().isoformat(),
        "roots": len(found),
        **summary(found),
        "values": dict(sorted(found.items())),
        "minutes": minutes,
        "environment": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return result


def main() -> None:
    """Search, print each root as it is finished, and keep everything."""
    store = sys.argv[1] if len(sys.argv) > 1 else "store"
    prepare(store)
    began, found = perf_counter(), dict[int, Values]()
    os.environ.update(WORKER_SETTINGS)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for root, values in pool.imap_unordered(partial(searched, store), ROOTS):
            found[root] = values
            means = ", ".join(f"{name} {np.mean(v['auc']):.3f}" for name, v in values.items())
            left = (perf_counter() - began) / len(found) * (len(ROOTS) - len(found)) / 60
            print(
                f"{len(found)} of {len(ROOTS)}: root {root}, {means}; {left:.0f} min left",
                flush=True,
            )
            if len(found) > 1:
                result = write(found, (perf_counter() - began) / 60)
    for each in result["comparisons"]:
        print(each)
    print(result["worst_seed"])


if __name__ == "__main__":
    main()
