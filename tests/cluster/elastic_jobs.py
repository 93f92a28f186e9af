"""Jobs that wait, and a campaign of them on a cluster whose machines come and go."""

import importlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster

from rum_ray.cluster import jobs
from rum_ray.cluster.connect import connect
from rum_ray.data import load
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.training.recipe import Recipe

PHASE = 6


@dataclass(frozen=True, eq=False)
class Nap:
    """Wait until the phase of this number is released; leave a mark of where it was tried."""

    number: int
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context: Context) -> Key:
        return Key("nap", {"number": self.number})

    def run(self, context: Context, runtime: object) -> Artifact:
        root = Path(context.store.root)
        phase = self.number // PHASE
        (root / f"{phase}-{ray.get_runtime_context().get_node_id()}").touch()
        while not (root / f"released{phase}").exists():
            time.sleep(0.05)
        return Artifact(value=self.number)


@dataclass(frozen=True, eq=False)
class Hungry:
    """Run out of memory whenever another of these is at work, or always."""

    number: int
    hopeless: bool = False
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context: Context) -> Key:
        return Key("hungry", {"number": self.number})

    def run(self, context: Context, runtime: object) -> Artifact:
        mine = Path(context.store.root) / f"eats-{os.getpid()}"
        mine.touch()
        try:
            time.sleep(0.3)
            if self.hopeless or len(list(mine.parent.glob("eats-*"))) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        finally:
            mine.unlink()
        return Artifact(value=self.number)


def until(ready: Callable[[], bool], stage: Future[None]) -> None:
    """Wait for something that a running stage is to bring about."""
    deadline = time.monotonic() + 120
    while not ready():
        assert not stage.done(), stage.result()
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def marks(root: Path, phase: int) -> set[str]:
    """The machines on which jobs of a phase were tried."""
    return {path.name.partition("-")[2] for path in root.glob(f"{phase}-*")}


def campaign(root: Path) -> None:
    """Let a machine join in the first phase, and another leave in the last one."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    leaver = cluster.add_node(num_cpus=1)
    context, told = Context(load("digits"), Store(root)), []
    elastic_jobs = [Nap(number) for number in range(2 * PHASE)]
    jobs.RESIZE_SECONDS = 1.0
    with connect(cluster.address), ThreadPoolExecutor() as pool:
        # Machines must be added by the main thread.
        stage = pool.submit(
            jobs.run, "elastic_jobs", elastic_jobs, context, ClusterConfig(workers=3), told.append
        )
        until(lambda: len(marks(root, 0)) == 2, stage)
        joiner = cluster.add_node(num_cpus=1)
        until(lambda: joiner.node_id in marks(root, 0), stage)
        (root / "released0").touch()
        until(lambda: leaver.node_id in marks(root, 1), stage)
        leaver.kill_raylet()
        (root / "released1").touch()
        stage.result()
    assert context.missing(elastic_jobs) == []
    assert told[-1].done == len(elastic_jobs)
    print("restarts", told[-1].restarts, "again", told[-1].again)
    cluster.shutdown()


if __name__ == "__main__":
    # Under its own name, so that the workers find it.
    importlib.import_module("elastic_jobs").campaign(Path(sys.argv[1]))
