"""TPE against random search at equal trainings, on the digits of the demo.

Each search seed is the root of all draws of its search: originals, retrained references, proposals.
The two samplers share the models. Proposals are the package's own, in its batches, and judged in
this process; what was judged is read from the store, so that a run that was killed goes on.

    .venv/bin/python experiments/samplers.py [STORE]
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import torch
from scipy.stats import binomtest

import rum_ray
from rum_ray import config
from rum_ray.jobs import Context, SearchJob
from rum_ray.jobs.ledger import Result
from rum_ray.jobs.proposals import Proposals
from rum_ray.results.environment import machine
from rum_ray.store import Store
from rum_ray.study.study import Study
from rum_ray.study.worker_pool import WORKER_SETTINGS

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
RESULT = Path(__file__).parent / "results" / "samplers.json"
SEEDS, BUDGET, PROCESSES = range(20, 40), 22, 2
SAMPLERS = ("tpe", "random")
Spent = Sequence[tuple[float, float]]
"""Trainings spent after each batch, and J of the best plan with all seeds so far."""
Found = Mapping[str, Spent]


def study(store: str, seed: int, sampler: str) -> Study:
    """Return the demo with a search of V4 alone."""
    search = {"seed": seed, "sampler": sampler, "trials": "", "budget": BUDGET, "spaces": "[V4]"}
    experiment = config.load(DEMO, [f"search.{key}={value}" for key, value in search.items()])
    return Study(experiment, Context(experiment.load_data(), Store(store)))


def prepare(store: str) -> None:
    """Make the pool that scores the examples, and so chooses what is forgotten."""
    demo = study(store, SEEDS[0], "tpe")
    for job in demo.scoring.pool:
        demo.context.get_or_compute(job)


def progress(search: SearchJob, context: Context) -> list[tuple[float, float]]:
    """Return the trainings spent after each batch, and J of the best plan with all seeds so far."""
    proposer, found = Proposals(search, context), []
    while not proposer.finished:
        for proposal in [*iter(proposer.propose, None)]:
            unit = proposal.unit
            value = context.get_or_compute(search.proposed(proposal.answers, unit.seed)).value
            proposer.tell(unit, Result.read(value))
        results = proposer.ledger.results(search.config)
        full = [mean(by_seed) for by_seed in results if len(by_seed) == search.config.seeds]
        if full:
            found.append((proposer.ledger.spent, max(full)))
    return found


def searched(store: str, seed: int) -> tuple[int, dict[str, list[tuple[float, float]]]]:
    """Return a search seed, and the progress of each sampler."""
    torch.set_num_threads(1)
    found = {}
    for sampler in SAMPLERS:
        of = study(store, seed, sampler)
        seeds = of.require_search().seeds
        tests = [job for tested in of.range_tests.values() for _, job in tested]
        for job in (*of.search_originals[:seeds], *of.reference_jobs, *tests):
            of.context.get_or_compute(job)
        (search,) = of.rungs
        found[sampler] = progress(search, of.context)
    return seed, found


def best(spent: Spent) -> float:
    """Return J of the best plan."""
    return max(value for _, value in spent)


def needed(found: Found) -> float:
    """Return the trainings until TPE is as good as random's best, as a share of the budget.

    Where it never is, that is the share 1.
    """
    goal = best(found["random"])
    return next((cost for cost, value in found["tpe"] if value >= goal), BUDGET) / BUDGET


def summary(found: Mapping[int, Found]) -> dict[str, Any]:
    """Return what the searches say, with the goals; ties of the best count for neither."""
    bests = {seed: {name: best(of[name]) for name in SAMPLERS} for seed, of in found.items()}
    gains = [each["tpe"] - each["random"] for each in bests.values()]
    wins, losses = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    shares = {seed: needed(of) for seed, of in found.items()}
    test = binomtest(wins, wins + losses) if wins + losses else None
    return {
        "wins": wins,
        "losses": losses,
        "p": test.pvalue if test else 1.0,
        "mean_gain": mean(gains),
        "median_share_to_random_best": median(shares.values()),
        "goals": {"wins": ">= 15 of 20", "median_share_to_random_best": "<= 0.6"},
        "best": bests,
        "share_to_random_best": shares,
    }


def main() -> None:
    """Search, print each seed as it is finished, and keep everything."""
    store = sys.argv[1] if len(sys.argv) > 1 else "store"
    prepare(store)
    began, found = perf_counter(), {}
    os.environ.update(WORKER_SETTINGS)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for seed, of in pool.imap_unordered(partial(searched, store), SEEDS):
            found[seed] = of
            line = ", ".join(f"{name} {best(of[name]):.4f}" for name in SAMPLERS)
            left = (perf_counter() - began) / len(found) * (len(SEEDS) - len(found)) / 60
            print(
                f"{len(found)} of {len(SEEDS)}: seed {seed}, {line}; {left:.0f} min left",
                flush=True,
            )
    found = dict(sorted(found.items()))
    result = {
        "experiment": "samplers",
        "date": date.today().isoformat(),
        **summary(found),
        "budget": BUDGET,
        "progress": found,
        "minutes": (perf_counter() - began) / 60,
        "environment": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print({key: result[key] for key in ("wins", "losses", "p", "median_share_to_random_best")})


if __name__ == "__main__":
    main()
