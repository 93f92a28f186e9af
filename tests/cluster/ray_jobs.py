"""Jobs that show what happens to their workers, and a cluster whose machines come and go."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster

from rum_ray.cluster import shards
from rum_ray.cluster.executor import RayExecutor
from rum_ray.data import load
from rum_ray.errors import DataError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key, Store
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import FineTune

PHASE = 6
FOOTPRINTS = "RUM_RAY_FOOTPRINTS"
"""Environment variable that names a folder for the footprints of unlearners."""


def mark(path: Path) -> None:
    """Append the number of this process to a file."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


def marked(path: Path) -> list[int]:
    """Numbers of the processes that have marked a file, in order."""
    return [*map(int, path.read_text().split())] if path.exists() else []


@dataclass(frozen=True, kw_only=True)
class Footprint(FineTune):
    """Fine-tuning that tells which process ran it."""

    name = "footprint"

    def losses(self, model, teacher, data, epoch):
        mark(Path(os.environ[FOOTPRINTS]) / "unlearners")
        return super().losses(model, teacher, data, epoch)


@dataclass(frozen=True, eq=False)
class Task:
    """Wait for the file `released`, or not; then kill the worker once, raise, or return."""

    number: int
    waits: bool = False
    dies: bool = False
    raises: str = ""
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context: Context) -> Key:
        return Key("task", {"number": self.number})

    def run(self, context: Context, runtime: object) -> Artifact:
        root = Path(context.store.root)
        mark(root / f"started{self.number}")
        while self.waits and not (root / "released").exists():
            time.sleep(0.05)
        died = root / f"died{self.number}"
        if self.dies and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.raises == "data":
            raise DataError("a permanent error")
        if self.raises == "key":
            raise KeyError("a bug")
        return Artifact(value=self.number)


@dataclass(frozen=True, eq=False)
class Hungry:
    """Wait until two workers are there; then one of them runs out of memory, once."""

    number: int
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context: Context) -> Key:
        return Key("hungry", {"number": self.number})

    def run(self, context: Context, runtime: object) -> Artifact:
        root, me = Path(context.store.root), os.getpid()
        (root / f"present-{me}").touch()
        while len(alive(root, "present")) < 2 and not list(root.glob("full-*")):
            time.sleep(0.05)
        try:
            os.close(os.open(root / "full", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            (root / f"done-{me}").touch()
            return Artifact(value=self.number)
        (root / f"full-{me}").touch()
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")


def alive(root: Path, mark: str) -> set[int]:
    """Processes that have left this mark and are alive."""
    numbers = [int(path.name.rpartition("-")[2]) for path in root.glob(f"{mark}-*")]
    return {number for number in numbers if Path(f"/proc/{number}").exists()}


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
        mark(root / f"tried{self.number}")
        (root / f"{phase}-{ray.get_runtime_context().get_node_id()}").touch()
        while not (root / f"released{phase}").exists():
            time.sleep(0.05)
        return Artifact(value=self.number)


def until(ready: Callable[[], bool], stage: Future[None]) -> None:
    """Wait for something that a running stage brings about."""
    deadline = time.monotonic() + 600
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
    context, states = Context(load("digits"), Store(root)), []
    naps = [Nap(number) for number in range(2 * PHASE)]
    shards.PLACE_SECONDS = 1.0
    workers = RayExecutor(cluster.address, ClusterConfig(workers=3))
    with workers, ThreadPoolExecutor() as pool:
        # Machines must be added by the main thread.
        stage = pool.submit(workers.run, "naps", naps, context, lambda s: states.append(s) or s)
        until(lambda: len(marks(root, 0)) == 2, stage)
        joiner = cluster.add_node(num_cpus=1)
        until(lambda: joiner.node_id in marks(root, 0), stage)
        tried = {path.name for path in root.glob("tried*")}
        (root / "released0").touch()
        until(lambda: leaver.node_id in marks(root, 1), stage)
        leaver.kill_raylet()
        (root / "released1").touch()
        stage.result()
    assert context.missing(naps) == []
    assert states[-1].done == len(naps)
    # The machine that joined cost nobody a job.
    assert all(len(marked(root / name)) == 1 for name in tried)
    lost = sum(len(marked(path)) > 1 for path in root.glob("tried*"))
    print("restarts", states[-1].restarts, "requeued", states[-1].again, "lost", lost)
    cluster.shutdown()


if __name__ == "__main__":
    # Under its own name, so that the workers find it.
    importlib.import_module("ray_jobs").campaign(Path(sys.argv[1]))
