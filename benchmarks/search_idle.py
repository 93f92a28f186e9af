"""Idle share of the workers of a search: units that race, against batches of whole plans.

A simulation of the package's own proposals: each unit takes a time of its own, drawn from U(0.02,
0.5) trainings, and a worker takes the next unit as soon as it is free. A worker is idle until the
last search ends. The baseline in the same run judges each plan on three seeds in one trial, and
waits for each batch of four trials. Both sides have the same draws of times.

    .venv/bin/python benchmarks/search_idle.py
"""

import heapq
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

import numpy as np

from _harness import Row, save
from rum_ray.data import load
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import Context, Evaluate, RetrainedReference, SearchJob, TrainModel
from rum_ray.jobs.ledger import Result
from rum_ray.refinement import refine
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import Judgement
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.searches import Request, Searches
from rum_ray.training import Recipe

GOALS = {2: 5, 4: 10, 8: 15}
"""Goal on the idle share in percent, by number of workers."""
PLANS, BATCH, SEEDS = 48, 4, 3
"""Of the baseline: plans of a search, plans per batch, seeds per plan."""
ROWS = (("salun", "V0"), ("salun", "V1"), ("finetune", "V0"), ("finetune", "V1"))
"""Searches beside the chain: rows of `compare`, by unlearner and space."""
ROOTS = 5
RECIPE = Recipe("mlp", epochs=20)


def seconds(*names: Any) -> float:
    """Return the drawn time of a unit."""
    seed = Seed(0)
    for name in names:
        seed /= name
    return 0.02 + 0.48 * float(seed.uniform(1)[0])


def searches(root: int, alone: bool) -> list[SearchJob]:
    """Return one search; or a chain of three spaces, and the searches of some rows."""
    partition = refine(range(60), Scores([0.1] * 60))
    originals = tuple(TrainModel(RECIPE, Seed(root) / k) for k in range(8))
    retrained = (TrainModel(RECIPE, o.seed, partition.rows) for o in originals[:SEEDS])
    models = (Evaluate(model, partition, model.seed, "valid") for model in retrained)
    reference = RetrainedReference(tuple(models))
    config = SearchConfig(sampler="random", seed=root)
    if alone:
        space = Space("V5", config.unlearners, partition)
        return [SearchJob(space, config.times(3), originals, reference)]
    chain: list[SearchJob] = []
    for name, parts in (("V0", 3), ("V2", 1), ("V5", 1)):
        space, parents = Space(name, config.unlearners, partition), [
            (parent, 3 if parent.name == "V0" else 1) for parent in chain
        ]  # fmt: skip
        own = config.times(parts)
        chain.append(SearchJob(space, own, originals, reference, parents=tuple(parents)))
    rows = SearchConfig(trials=8, budget=None, finalists=1, sampler="random", seed=root)
    spaces = [Space(name, (Candidate(unlearner),), partition) for unlearner, name in ROWS]
    return [*chain, *(SearchJob(space, rows, originals, reference) for space in spaces)]


def raced(context: Context, root: int, workers: int, alone: bool) -> float:
    """Return the idle share with units that race."""
    running = Searches(searches(root, alone), context)
    now, busy = 0.0, 0.0
    at_work: list[tuple[float, int, Request]] = []
    order = itertools.count()
    while not running.finished:
        while len(at_work) < workers and (request := running.propose()) is not None:
            unit = request.proposal.unit
            took = seconds(root, request.search, unit.trial, unit.seed)
            busy += took
            heapq.heappush(at_work, (now + took, next(order), request))
        now, number, request = heapq.heappop(at_work)
        value = seconds("J", root, request.search, request.proposal.unit.trial, number)
        running.tell(request, Result(Judgement(1 - value, 0.0, 0.0, 1.0)))
    return 1 - busy / (workers * now)


def batched(root: int, workers: int) -> float:
    """Return the idle share of the baseline."""
    plans = [sum(seconds(root, 0, n, k) for k in range(SEEDS)) for n in range(PLANS)]
    ends = [wall(batch, workers) for batch in _chunks(plans)]
    return 1 - sum(plans) / (workers * sum(ends))


def _chunks(plans: Sequence[float]) -> Iterator[Sequence[float]]:
    return (plans[at : at + BATCH] for at in range(0, len(plans), BATCH))


def wall(times: Sequence[float], workers: int) -> float:
    """Return the time after which the last of some trials is finished."""
    free = [0.0] * workers
    for each in times:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def main() -> None:
    """Simulate every number of workers, and keep the mean idle shares."""
    rows, shares, bundle = [], {}, load("digits")
    for workers, goal in GOALS.items():
        baseline = [100 * batched(root, workers) for root in range(ROOTS)]
        for alone in (False, True):
            found = []
            for root in range(ROOTS):
                with tempfile.TemporaryDirectory() as folder:
                    context = Context(bundle, Store(folder))
                    found.append(100 * raced(context, root, workers, alone))
            what = "one search" if alone else "a chain of 3 and 4 rows"
            name = f"{workers} workers, {what}"
            shares[name] = {"raced": found, "batches of plans": baseline}
            rows.append(
                Row(
                    f"idle share, {name}",
                    "-" if alone else f"<= {goal} %",
                    f"{mean(baseline):.0f} % in batches of {BATCH} plans",
                    float(np.mean(found)),
                    min(found),
                    max(found),
                )
            )
            print(rows[-1].what, f"{rows[-1].reached:.1f} %, baseline {mean(baseline):.1f} %")
    save("search_idle", rows, {}, "", shares=shares, roots=ROOTS)


if __name__ == "__main__":
    main()
