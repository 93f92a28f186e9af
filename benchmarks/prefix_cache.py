"""A search with prefixes kept, against one that runs every step of every unit.

Sixty plans for three subsets of the digits' forget set, out of six unlearners, are proposed by TPE
as a search does it, with the numbers of the first step on a grid of two; the best ones go on to two
more seeds. Then both sides judge these units one after another. The metrics are the same bits, so
the time to any of them is compared. The side without prefixes has the originals and references,
too.

A first step can save no more than itself: if each plan's first step that does something were free,
six tenths of the steps would still be run ("bound").
"""

import contextlib
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from _harness import Rates, Row, Side, compared, interleave, process, save
from _search import Answers, digits, prepared, propose

from rum_ray.jobs import Context, SearchJob
from rum_ray.jobs.ledger import Result
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import Judgement
from rum_ray.search.spaces import replay

TRIALS, REPETITIONS, WARM = 60, 3, 8
FREE = tuple(map(Candidate, ("nothing", "finetune", "l1_sparse", "neggrad+", "scrub", "salun")))
RATES = tuple(
    Candidate(free.name, {key: value for key, value in free.defaults.items() if key != "lr"})
    for free in FREE
)
"""The same with their defaults but for the learning rate."""
KEPT, BASELINE = "prefixes kept", "every step of every unit"
Unit: TypeAlias = tuple[Answers, int]
"""The answers of a plan, and a seed."""
EQUAL = Result(Judgement(0.0, 0.0, 0.0, 0.0)).plain()
SPACES: dict[str, dict[str, Any]] = {
    "all values, grid of 2": {"unlearners": FREE, "grid": 2},
    "learning rates, fixed order, grid of 2": {"unlearners": RATES, "ordered": True, "grid": 2},
}


def searching(folder: Path, space: str, **changes: Any) -> tuple[Context, SearchJob]:
    """Return a search on a store."""
    context = digits(folder)
    return context, prepared(context, trials=TRIALS, **SPACES[space], **changes)


def steps_run(search: SearchJob, found: list[Unit]) -> tuple[float, float]:
    """Return the share of the units' steps that are run if each prefix is run once, and its bound.

    The bound is what would be left if the first step of each plan were free; idle ones aside.
    """
    plans = {(search.space.plan(replay(answers)).steps, seed) for answers, seed in found}
    does = [[n for n in (1, 2, 3) if not plan[n - 1].idle] for plan, _ in plans]
    steps = [(plan[:n], k) for (plan, k), ends in zip(plans, does, strict=True) for n in ends]
    later = sum(len(ends[1:]) for ends in does)
    return len(set(steps)) / len(steps), later / len(steps)


def searched(folder: Path, space: str) -> tuple[list[Unit], tuple[float, float]]:
    """Return what TPE proposes, and the share of steps run, as counted and as the store tells."""
    context, search = searching(folder, space)

    def judge(answers: Answers, seed: int) -> Mapping[str, Any]:
        value: Mapping[str, Any] = context.get_or_compute(search.proposed(answers, seed)).value
        return value

    found = propose(search, context, judge)
    jobs = context.distinct([search.proposed(answers, seed) for answers, seed in found])
    made = [context.store.provenance(job.key(context)) for job in jobs]
    ran, read = (sum(each[count] for each in made) for count in ("steps_run", "cache_hits"))
    shares = steps_run(search, found)
    assert ran / (ran + read) == shares[0], (ran, read, shares)
    for kind in ("trial", "prefix"):
        context.store.discard(kind)
    return found, shares


def judging(folder: Path, space: str, found: list[Unit], kept: bool) -> Side:
    """Return a side that judges all units with neither trial nor prefix; the first time, a few."""
    own = folder.with_name(f"{space}, {kept}")
    shutil.copytree(folder, own)
    context, search = searching(own, space)
    counts = itertools.chain([WARM], itertools.repeat(len(found)))

    def run() -> float:
        for kind in ("trial", "prefix"):
            context.store.discard(kind)
        count = next(counts)
        for answers, seed in found[:count]:
            job = search.proposed(answers, seed)
            context.get_or_compute(job if kept else replace(job, shared=0))
        return count

    return run


def timed(folder: Path, space: str, found: list[Unit]) -> Rates:
    """Return the units a second with prefixes kept, and without."""
    from rum_ray.cluster.connect import WORKER_SETTINGS

    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                process(judging, folder, space, found, kept, environment=WORKER_SETTINGS)
            )
            for name, kept in ((KEPT, True), (BASELINE, False))
        }
        return interleave(sides, REPETITIONS, "units")


def main() -> None:
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows, bounds, drawn = [], {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        for space in SPACES:
            context, random = searching(folder, space, sampler="random")
            drawn[space], _ = steps_run(random, propose(random, context, lambda *_: EQUAL))
            found, (share, bounds[space]) = searched(folder, space)
            rows.append(Row(f"steps run, {space}", "<= 0.5 x", BASELINE, share))
        # Of the last space, which shares the most.
        rates = timed(folder, space, found)
    what = f"time of the units of {TRIALS} plans, {space}"
    rows.append(compared(what, "<= 0.6 x", rates, KEPT, BASELINE, unit=lambda ratio: 1 / ratio))
    notes = {"trials": TRIALS, "bound": bounds, "random": drawn, "threads": 1}
    save("prefix_cache", rows, rates, "units", **notes)


if __name__ == "__main__":
    main()
