"""Idle share of the workers of a search: units that race, against batches of whole plans.

A simulation of the package's own proposals. A unit of a plan takes a time that is drawn from
U(0.02, 0.5) trainings, and a worker takes the next unit as soon as it is free. Workers are idle
while a batch waits for its last unit, and until the last search ends. The baseline in the same run
judges each plan on three seeds in one trial, with the same distribution of times, and waits for
each batch of four trials.

    .venv/bin/python benchmarks/search_idle.py
"""

import heapq
import itertools
import tempfile
from collections.abc import Sequence
from statistics import mean
from typing import Any

from _harness import Row, save

from rum_ray.data import load
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import Context, Evaluate, RetrainedReference, SearchJob, TrainModel
from rum_ray.jobs.ledger import Result
from rum_ray.refinement import refine
from rum_ray.rum import Plan
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
METHODS = {"vanilla": "V0", "shuffle": "V1", "rum_f": "V1"}
ROWS = tuple(itertools.product(("finetune", "l1_sparse", "neggrad+", "salun"), METHODS))
"""Rows of `compare` in the demo, by unlearner and method."""
ROOTS = 5
RECIPE = Recipe("mlp", epochs=20)
ONE, ALL = "one search of V5", f"V0, V2, V5 and {len(ROWS)} rows at once"


def uniform(*names: Any) -> float:
    """Return a number in [0, 1) that is drawn for some names."""
    seed = Seed(0)
    for name in names:
        seed /= name
    return float(seed.uniform(1)[0])


def seconds(*names: Any) -> float:
    """Return the time of a unit."""
    return 0.02 + 0.48 * uniform("seconds", *names)


class Drawn(SearchJob):
    """A search whose units have drawn costs."""

    def unit_cost(self, plan: Plan, context: Context) -> float:
        """Return the drawn cost of a plan."""
        return seconds(repr(plan))


def searches(root: int, name: str) -> list[SearchJob]:
    """Return the searches of a workload."""
    partition = refine(range(60), Scores([0.1] * 60))
    originals = tuple(TrainModel(RECIPE, Seed(root) / k) for k in range(8))
    retrained = (TrainModel(RECIPE, o.seed, partition.rows) for o in originals[:SEEDS])
    reference = RetrainedReference(
        tuple(Evaluate(m, partition, m.seed, "valid") for m in retrained)
    )
    config = SearchConfig(sampler="random", seed=root)
    if name == ONE:
        space = Space("V5", config.unlearners, partition)
        return [Drawn(space, config, originals, reference)]
    found: list[SearchJob] = []
    for number, key in enumerate(("V0", "V2", "V5")):
        space = Space(key, config.unlearners, partition)  # type: ignore[arg-type]
        parents = tuple(zip(found, (3, 1), strict=False))
        budget = config.times(1 if number else 3)
        found.append(Drawn(space, budget, originals, reference, parents=parents))
    rows = SearchConfig(trials=config.rows, finalists=1, sampler="random", seed=root)
    names = tuple(f"shuffle{k}" for k in range(1, 4))
    shuffled = refine(range(60), Scores((Seed(root) / "shuffle").uniform(60)), names)
    for unlearner, method in ROWS:
        rows_of = shuffled if method == "shuffle" else partition
        space = Space(METHODS[method], (Candidate(unlearner),), rows_of)  # type: ignore[arg-type]
        found.append(Drawn(space, rows, originals, reference))
    return found


def raced(context: Context, root: int, workers: int, name: str) -> float:
    """Return the idle share in percent, with units that race."""
    running = Searches(searches(root, name), context)
    now, busy, order, plans = 0.0, 0.0, itertools.count(), dict[int, str]()
    at_work: list[tuple[float, int, Request]] = []
    while not running.finished:
        while len(at_work) < workers and (request := running.propose()) is not None:
            plans[order_of := next(order)] = repr(running.job(request).plan)
            took = seconds(plans[order_of])
            busy += took
            heapq.heappush(at_work, (now + took, order_of, request))
        now, number, request = heapq.heappop(at_work)
        plan, seed = plans.pop(number), request.proposal.unit.seed
        value = (uniform("J", plan) + 0.1 * uniform("J", plan, seed)) / 1.1
        running.tell(request, Result(Judgement(value, 0.0, 0.0, 1.0)))
    return 100 * (1 - busy / (workers * now))


def batched(root: int, workers: int) -> float:
    """Return the idle share in percent of the baseline."""
    plans = [SEEDS * seconds(root, number) for number in range(PLANS)]
    ends = sum(wall(plans[at : at + BATCH], workers) for at in range(0, PLANS, BATCH))
    return 100 * (1 - sum(plans) / (workers * ends))


def wall(times: Sequence[float], workers: int) -> float:
    """Return the time after which the last of some trials is finished."""
    free = [0.0] * workers
    for each in times:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def main() -> None:
    """Simulate every workload and number of workers, and keep the mean idle shares."""
    rows, shares, bundle = [], {}, load("digits")
    for name, (workers, goal) in itertools.product((ALL, ONE), GOALS.items()):
        baseline, found = [batched(root, workers) for root in range(ROOTS)], []
        for root in range(ROOTS):
            with tempfile.TemporaryDirectory() as folder:
                found.append(raced(Context(bundle, Store(folder)), root, workers, name))
        what = f"idle share of {workers} workers, {name}"
        base = f"{mean(baseline):.0f} % in batches of {BATCH} plans"
        rows.append(Row(what, f"<= {goal} %", base, mean(found), min(found), max(found)))
        shares[what] = {"raced": found, "batches of plans": baseline}
    save("search_idle", rows, {}, "units", shares=shares, roots=ROOTS)


if __name__ == "__main__":
    main()
