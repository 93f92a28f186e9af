"""Resume of a finished pool of 4,000 models: `rum-ray score` when there is nothing left to make.

The pool's records are made up and lie under the right keys; the originals are trained. The command
reads all records, so this is the time until its scores are written. Beside it the same command with
8 models, which is the start of Python and its libraries, and the work on 4,000 records of 50,000
examples, as CIFAR-10 has, in one process.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _harness import Row, interleave, save

import rum_ray
from rum_ray import config
from rum_ray.data import DataBundle, LabeledData
from rum_ray.jobs import Context, TrainPoolModel, pool_counts
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Store
from rum_ray.study.study import Study
from rum_ray.training.recipe import Recipe

MODELS, FEW, EXAMPLES, REPETITIONS = 4_000, 8, 50_000, 3
DEMO = Path(rum_ray.__file__).parent / "demo.yaml"


def settings(models: int) -> tuple[str, ...]:
    """Return the demo's changes: the pool's size, and originals that are trained at once."""
    return (f"score.models={models}", "recipe.epochs=1", "seeds=[0, 1]")


def fill(context: Context, models: list[TrainPoolModel]) -> None:
    """Keep made-up records of these models."""
    total = len(context.bundle.train)
    for model in models:
        included, correct = (np.packbits(model.seed.uniform(total) < p) for p in (0.7, 0.9))
        artifact = Artifact({"included": included, "correct": correct})
        context.store.save(model.key(context), artifact, {})


def score(folder: Path, models: int) -> float:
    """Run the command line, and return one run."""
    command = [sys.executable, "-m", "rum_ray", "score", str(DEMO), "--store", str(folder)]
    command += [part for setting in settings(models) for part in ("--set", setting)]
    subprocess.run(
        [*command, "--out", str(folder / f"out{models}")], check=True, capture_output=True
    )
    return 1


def count(context: Context, models: list[TrainPoolModel]) -> float:
    """Read all records and add them up, and return one run."""
    assert not context.missing(models)
    halves = pool_counts(context, models, groups=2)
    assert len((halves[0] + halves[1]).scores().values) == EXAMPLES
    return 1


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for models in (MODELS, FEW):
            experiment = config.load(DEMO, settings(models))
            context = Context(experiment.load_data(), Store(folder))
            fill(context, list(Study(experiment, context).scoring.pool))
        blank = LabeledData(torch.zeros(EXAMPLES, 1), torch.zeros(EXAMPLES))
        large = Context(DataBundle("blank", blank, blank, blank), Store(folder))
        pool = [TrainPoolModel(Recipe("mlp"), Seed(0) / "pool" / m, 0.7) for m in range(MODELS)]
        fill(large, pool)
        sides = {f"score, {n} models": partial(score, folder, n) for n in (MODELS, FEW)}
        sides[f"{EXAMPLES} examples"] = partial(count, large, pool)
        rates = interleave(sides, REPETITIONS, "runs")
    seconds = {side: 1 / median(values) for side, values in rates.items()}
    names = {
        f"score, {MODELS} models": "resume of a finished pool of 4,000 models, digits",
        f"score, {FEW} models": "the same with 8 models: the start of the command",
        f"{EXAMPLES} examples": "4,000 records of 50,000 examples: read, check and count",
    }
    rows = [Row(what, "<= 5 s", "-", seconds[side]) for side, what in names.items()]
    save("resume", rows, rates, "runs", models=MODELS)


if __name__ == "__main__":
    main()
