"""Eight MLPs trained as one batched computation, against plain workers on the same two cores.

The models are leave-k-out models of the digits. Tests hold that both ways learn the same.
"""

import contextlib

import torch
from _harness import Side, compared, interleave, process, save, together

from rum_ray.data import load
from rum_ray.data.bundle import LabeledData
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.fused import fit_together
from rum_ray.training.runtime import set_threads

MODELS, EPOCHS = 8, 20
RECIPE = Recipe("mlp", epochs=EPOCHS, batch_size=64)
SEEDS = [Seed(0) / "pool" / number for number in range(MODELS)]


def fit_fused(recipe: Recipe, data: LabeledData) -> list[torch.nn.Module]:
    """Train all models at once."""
    rows = [included_rows(len(data), 0.7, seed) for seed in SEEDS]
    return fit_together(recipe, data, rows, SEEDS, torch.device("cpu"))


def fit_plain(recipe: Recipe, data: LabeledData) -> list[torch.nn.Module]:
    """Train the same models one after another."""
    rows = [included_rows(len(data), 0.7, seed) for seed in SEEDS]
    runs = zip(rows, map(LocalRuntime, SEEDS), strict=True)
    return [recipe.fit(data, runtime, rows=own) for own, runtime in runs]


def side(fused: bool, threads: int) -> Side:
    """Return a side that trains all eight models; its work is model-epochs."""
    set_threads(threads)
    data = load("digits").train
    fit = fit_fused if fused else fit_plain

    def run() -> float:
        fit(RECIPE, data)
        return MODELS * EPOCHS

    return run


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    with contextlib.ExitStack() as stack:

        def start(fused: bool, threads: int) -> Side:
            return stack.enter_context(process(side, fused, threads, environment=WORKER_SETTINGS))

        plain = "plain, two processes"
        sides = {
            plain: together(start(False, 1), start(False, 1)),
            "fused, two processes": together(start(True, 1), start(True, 1)),
            "fused, one process of two threads": start(True, 2),
        }
        rates = interleave(sides, 5, "model-epochs")
    rows = [
        compared(f"{name}, {MODELS} MLPs", ">= 1.2 x", rates, name, plain)
        for name in list(sides)[1:]
    ]
    save("fused", rows, rates, "model-epochs", data="digits", models=MODELS, epochs=EPOCHS)


if __name__ == "__main__":
    main()
