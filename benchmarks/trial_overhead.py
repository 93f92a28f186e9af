"""The time of a unit of a search beyond its steps, in one process and under Ray Tune.

The unlearner here gives back a copy of the model, so that a trial is nothing but what surrounds its
steps: a proposal, models read, two prefixes written, an evaluation, and the record. Its values are
integers, whose prefixes are kept; a continuous one would have none.
"""

import contextlib
import copy
import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import ClassVar

from _harness import Row, Side, interleave, process, refuse_spread, save
from _search import digits, prepared
from torch import nn

from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context, SearchJob
from rum_ray.search.candidates import Candidate
from rum_ray.study.progress import ProgressState
from rum_ray.training import Runtime
from rum_ray.training.domains import Domain, Integers
from rum_ray.unlearning import UnlearningTask

SEEDS, TRIALS, REPETITIONS = 3, 20, 3
UNITS = SEEDS * TRIALS
GOAL = "<= 0.5 s"
COPY = "trial_overhead:Copy"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """Give back a copy of the model."""

    name: ClassVar[str] = COPY
    space: ClassVar[Mapping[str, Domain]] = {"number": Integers(0, 10**9)}

    number: int = 0

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return the copy."""
        return copy.deepcopy(model)

    def cost(self, forget: int, retain: int) -> float:
        """Return 0."""
        return 0.0


def searching(folder: Path) -> tuple[Context, SearchJob]:
    """Return a search for copies."""
    context = digits(folder)
    return context, prepared(context, (Candidate(COPY),), TRIALS * (REPETITIONS + 1))


def judging(folder: Path) -> Side:
    """Return a side that judges plans, all different, in this process."""
    context, search = searching(folder)
    numbers, names = itertools.count(), search.space.partition.names
    places = {f"{name}.place": 1 for name in names}

    def run() -> float:
        for number in itertools.islice(numbers, TRIALS):
            chosen = {f"{name}.unlearner": COPY for name in names}
            values = {f"{name}.{COPY}.number": number for name in names}
            for seed in range(SEEDS):
                context.get_or_compute(search.proposed({**places, **chosen, **values}, seed))
        return UNITS

    return run


def tuned(folder: Path) -> list[float]:
    """Return units a second under Ray Tune, one worker: of each part but the first."""
    from rum_ray.cluster.executor import RayExecutor

    context, search = searching(folder)
    ends: list[float] = []

    def on_progress(state: ProgressState) -> ProgressState:
        ends.append(perf_counter())
        return state

    # The workers find Copy by its name: Ray gives them the script's folder.
    with RayExecutor(config=ClusterConfig(workers=1)) as executor:
        executor.search("trials", [search], context, on_progress)
    last = ends[UNITS - 1 :: UNITS]
    return [UNITS / (end - start) for start, end in itertools.pairwise(last)]


def main() -> None:
    from rum_ray.study.worker_pool import WORKER_SETTINGS

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        judge = process(judging, folder / "alone", environment=WORKER_SETTINGS)
        rates = interleave({"one process": stack.enter_context(judge)}, REPETITIONS, "units")
        rates["Ray Tune"] = tuned(folder / "tune")
    print("Ray Tune:", *(f"{rate:.4g}" for rate in rates["Ray Tune"]), "units/s", flush=True)
    refuse_spread(rates)
    rows = [
        Row(
            f"a unit of a search beyond its steps, {side}",
            GOAL,
            "-",
            1 / median(of),
            1 / max(of),
            1 / min(of),
        )
        for side, of in rates.items()
    ]
    save("trial_overhead", rows, rates, "units", seeds=SEEDS, threads=1, model="mlp", data="digits")


if __name__ == "__main__":
    main()
