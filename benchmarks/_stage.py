"""The same models under Ray and in bare processes, in turn; shared by campaign and ray_share.

Under Ray the first stage takes a fixed time: controller and workers start, each worker's first job
brings PyTorch's own start with it, and in the end one waits for the other. That is told apart: the
rate is the sum of the workers', each from its second job's begin to its last one's end, as the
store's provenance has them. Of the bare side, too, a first run does not count.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

from _harness import Rates, Side, process, refuse_spread, together

from rum_ray.cluster.connect import connect
from rum_ray.cluster.executor import RayExecutor
from rum_ray.data import load
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context, TrainPoolModel
from rum_ray.resume import StoredRuntime
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.progress import ProgressState
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training.recipe import Recipe

WORKERS = 2
WORKER = "ray::RayTrainWorker"
"""Name of the process of a worker."""
Span: TypeAlias = tuple[float, float]
"""When a job began and ended."""


@dataclass
class Comparison:
    """Models that are trained under Ray and in bare processes.

    Attributes:
        models: how many; a multiple of the processes.
        epochs: of each, an MLP on the digits.
        processes: of the bare side, one thread each.
        fixed: seconds of each stage under Ray beside those in which a worker did these jobs.
        beside: CPU time of all processes but the workers between first and last result of each
            stage under Ray, as a share of the CPU time of so many cores.
    """

    models: int
    epochs: int
    processes: int
    fixed: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def rates(self, repetitions: int) -> Rates:
        """Return models a second under "Ray" and "bare", in turn; a first round does not count."""
        rates: Rates = {"bare": [], "Ray": []}
        share = self.models // self.processes
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bare = together(
                *(
                    stack.enter_context(
                        process(loop, folder, share, self.epochs, environment=WORKER_SETTINGS)
                    )
                    for _ in range(self.processes)
                )
            )
            for repetition in range(repetitions + 1):
                start = perf_counter()
                bare()
                passed, found = perf_counter() - start, self._stage(folder)
                if repetition:
                    rates["bare"].append(self.models / passed)
                    rates["Ray"].append(found[0])
                    self.fixed.append(found[1])
                    self.beside.append(found[2])
        for name, values in rates.items():
            print(f"{name}: {' '.join(f'{value:.4g}' for value in values)} models/s", flush=True)
        print(f"fixed: {' '.join(f'{value:.1f}' for value in self.fixed)} s a stage", flush=True)
        print(f"beside: {' '.join(f'{value:.1%}' for value in self.beside)}", flush=True)
        refuse_spread(rates)
        return rates

    def _stage(self, folder: Path) -> tuple[float, float, float]:
        """Run a stage; return its rate, the seconds that it takes besides, and CPU beside it."""
        context = Context(load("digits"), Store(folder / "store"))
        models = pool(self.models, self.epochs)
        looks: list[tuple[float, float]] = []

        def on_progress(state: ProgressState) -> ProgressState:
            if state.done:
                looks.append((perf_counter(), cpu_beside()))
            return state

        # A cluster of its own, so that an idle one does not slow the bare side.
        with connect(workers=WORKERS), RayExecutor(config=ClusterConfig(WORKERS)) as executor:
            start = perf_counter()
            executor.run("benchmark", models, context, on_progress)
            passed = perf_counter() - start
        made = [context.store.provenance(model.key(context)) for model in models]
        shutil.rmtree(folder / "store")
        workers = by_worker([(m["time"] - m["seconds"], m["time"]) for m in made])
        working = [spans[-1][1] - spans[1][0] for spans in workers]
        counts = [len(spans) - 1 for spans in workers]
        rate = sum(count / seconds for count, seconds in zip(counts, working, strict=True))
        (start, before), (end, after) = looks[0], looks[-1]
        beside = (after - before) / (end - start) / WORKERS
        return rate, passed - sum(working) / len(working), beside


def cpu_beside() -> float:
    """Return the CPU time of this process and of all that it started, except the workers."""
    parents, times = dict[int, int](), dict[int, float]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text("utf-8", "replace")
            fields = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        worked = int(fields[11]) + int(fields[12])
        times[pid] = 0.0 if command.startswith(WORKER) else worked / os.sysconf("SC_CLK_TCK")
    ours, found = {os.getpid()}, set[int]()
    while ours:
        found |= ours
        ours = {pid for pid, parent in parents.items() if parent in ours}
    return sum(times.get(pid, 0.0) for pid in found)


def by_worker(spans: Sequence[Span]) -> list[list[Span]]:
    """Return jobs by worker: each belongs to the one that ended its last one just before."""
    workers: list[list[Span]] = []
    for span in sorted(spans):
        free = [worker for worker in workers if worker[-1][1] <= span[0]]
        if free:
            max(free, key=lambda worker: worker[-1][1]).append(span)
        else:
            workers.append([span])
    return workers


def pool(models: int, epochs: int) -> list[TrainPoolModel]:
    """Return so many leave-k-out models of the digits."""
    recipe = Recipe("mlp", epochs=epochs, lr=0.1, batch_size=64)
    return [TrainPoolModel(recipe, Seed(0) / "pool" / m, 0.7) for m in range(models)]


def loop(folder: Path, models: int, epochs: int) -> Side:
    """Return the side that trains models one after another, and keeps nothing."""
    context, numbers = Context(load("digits"), Store(folder / "bare")), itertools.count()

    def run() -> float:
        for model in pool(models, epochs):
            model.run(context, StoredRuntime(model.seed, context.store, str(next(numbers))))
        return models

    return run
