"""The cost of all integrity checks: a small study with them, and the same study without.

The checks are the checksum of each artifact, when it is written and when it is read, the SHA-256 in
keys and in states of interrupted jobs, and the wait until a file is on the disk. The side without
them replaces these functions in a process of its own: no setting of the package does that. A short
study keeps no state, so the states of a large model are a row of their own. Times are CPU seconds
of the process and the seconds in which it waits for the disk, which other processes of the machine
change little.
"""

import contextlib
import importlib
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import SimpleNamespace

import torch
from _harness import Rates, Row, Side, compared, process, refuse_spread, save
from torch import nn

import rum_ray as rr
from rum_ray import config
from rum_ray.models import build
from rum_ray.resume import CHECKPOINT_SECONDS, StoredRuntime
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.store.artifact import Artifact
from rum_ray.training import Recipe

SETTINGS: Mapping[str, object] = {
    "name": "integrity",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 30, "lr": 0.1, "batch_size": 64},
    "score": {"models": 16, "fraction": 0.5},
    "forget": {"size": 120},
    "plan": {
        "low": "nothing",
        "medium": {"name": "finetune", "epochs": 10},
        "high": {"name": "salun", "epochs": 5},
    },
}
"""A study whose trainings are half as long as the demo's."""
TURNS, KEEPS, MODEL, GOAL = 3, 3, "resnet18", "<= 1.02 x"
STUDY, STATE = "study", "state"


class Crc:
    """A checksum instead of a digest: names stay distinct, and cost next to nothing."""

    def __init__(self, content: bytes | memoryview) -> None:
        self.value = zlib.crc32(content)

    def digest(self) -> bytes:
        """Return 32 bytes."""
        return self.value.to_bytes(32, "big")

    def hexdigest(self) -> str:
        """Return 64 digits."""
        return self.digest().hex()


def without_checks() -> None:
    """Replace the checks in this process."""
    for name in ("digest", "resume"):
        module = importlib.import_module(f"rum_ray.{name}")
        vars(module)["hashlib"] = SimpleNamespace(sha256=Crc)
    Artifact.checksum = lambda self, key: ""  # type: ignore[method-assign]
    os.fsync = lambda file: None


def timed(work: Side) -> Side:
    """Return a side whose work is the seconds of another one: of the CPU, and for the disk."""
    waited, sync = [0.0], os.fsync

    def waiting(file: int) -> None:
        start = perf_counter()
        sync(file)
        waited[0] += perf_counter() - start

    os.fsync = waiting  # type: ignore[assignment]

    def run() -> float:
        start, before = process_time(), waited[0]
        work()
        return process_time() - start + waited[0] - before

    return run


def study(folder: Path, checks: bool, settings: Mapping[str, object] = SETTINGS) -> Side:
    """Return a side that runs a whole study in a new store, in this process."""
    if not checks:
        without_checks()
    experiment = config.parse(settings)

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as store:
            return len(rr.run(experiment, store=store).rows)

    return timed(run)


def state(folder: Path, checks: bool, name: str = MODEL) -> Side:
    """Return a side that keeps the state of a model with momentum, and restores it."""
    if not checks:
        without_checks()
    recipe = Recipe(name)
    model = build(name, (3, 32, 32), 10)
    optimizer = recipe.new_optimizer(model)
    sum(p.sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    parts: dict[str, nn.Module | torch.optim.Optimizer] = {"model": model, "optimizer": optimizer}
    runtime = StoredRuntime(Seed(0), Store(folder / f"states{checks}"), "job")

    def run() -> float:
        runtime._save_checkpoint(1, parts)
        assert runtime._restore(parts) == 1
        return 1

    return timed(run)


def rates_of(sides: Mapping[str, Side], turns: int) -> Rates:
    """Return how often a second each side runs, in turn; a first turn does not count."""
    rates: Rates = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            seconds = side()
            if turn:
                rates[name].append(1 / seconds)
    for name, values in rates.items():
        print(f"{name}: {' '.join(f'{1 / value:.4g}' for value in values)} s", flush=True)
    return rates


def main() -> None:
    """Measure, print and keep."""
    from rum_ray.study.worker_pool import WORKER_SETTINGS

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        sides = {
            f"{make.__name__}, {word} checks": stack.enter_context(
                process(make, Path(name), word == "with", environment=WORKER_SETTINGS)
            )
            for make in (study, state)
            for word in ("with", "without")
        }
        of_study = {key: side for key, side in sides.items() if key.startswith(STUDY)}
        of_state = {key: side for key, side in sides.items() if key.startswith(STATE)}
        rates = rates_of(of_study, TURNS) | rates_of(of_state, KEEPS)
    checked, bare = (f"{STUDY}, {word} checks" for word in ("with", "without"))
    refuse_spread({"ratio": [a / b for a, b in zip(rates[bare], rates[checked], strict=True)]})
    what = "a study of short trainings, digits, with all checks"
    row = compared(what, GOAL, rates, bare, checked, name="the same without")
    kept = [1 / median(rates[f"{STATE}, {word} checks"]) for word in ("with", "without")]
    share = 1 + (kept[0] - kept[1]) / CHECKPOINT_SECONDS
    rows = [row, Row(f"{MODEL}, one state per 30 s, with all checks", GOAL, row.baseline, share)]
    save("integrity", rows, rates, "runs", threads=1, state_seconds=kept)


if __name__ == "__main__":
    main()
