"""Eight MLPs trained as one batched computation, against plain workers on the same two cores.

Fused groups enter the package if they gain 20 %. The models are leave-k-out models of the digits;
that the fused loop learns what `Recipe.fit` learns is checked before anything is timed.
"""

import contextlib
from dataclasses import replace

import torch
import torch.nn.functional as F
from _harness import Side, compared, interleave, process, save, together
from torch import Tensor

from rum_ray.data import load
from rum_ray.data.bundle import LabeledData
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.runtime import set_threads

MODELS, EPOCHS = 8, 20
RECIPE = Recipe("mlp", epochs=EPOCHS, batch_size=64)
SEEDS = [Seed(0) / "pool" / number for number in range(MODELS)]


def subset(data: LabeledData, seed: Seed) -> LabeledData:
    """Return the 70 % of the data that a leave-k-out model learns."""
    return data.take(included_rows(len(data), 0.7, seed))


def fit_fused(recipe: Recipe, data: LabeledData) -> list[Tensor]:
    """Train all models at once; return their weights and biases, [K, ...] each.

    Initial weights and orders are those of `Recipe.fit`.
    """
    parts = [subset(data, seed) for seed in SEEDS]
    x = torch.stack([part.x.flatten(1) for part in parts])
    y = torch.stack([part.y for part in parts])
    built = [recipe.build(part, seed / "init") for part, seed in zip(parts, SEEDS, strict=True)]
    parameters = [
        torch.stack([p.T if p.ndim == 2 else p[None] for p in same]).detach().requires_grad_()
        for same in zip(*(model.parameters() for model in built), strict=True)
    ]
    first, first_bias, second, second_bias, head, head_bias = parameters
    optimizer = torch.optim.SGD(
        parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    model = torch.arange(MODELS)[:, None]
    for epoch in range(recipe.epochs):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate(epoch)
        orders = [(seed / epoch / "order").permutation(x.shape[1]) for seed in SEEDS]
        for rows in torch.stack([torch.from_numpy(o) for o in orders]).split(64, dim=1):
            hidden = torch.baddbmm(first_bias, x[model, rows], first).relu()
            hidden = torch.baddbmm(second_bias, hidden, second).relu()
            logits = torch.baddbmm(head_bias, hidden, head)
            loss = F.cross_entropy(logits.transpose(1, 2), y[model, rows], reduction="sum")
            optimizer.zero_grad()
            (loss / rows.shape[1]).backward()
            optimizer.step()
    return parameters


def fit_plain(recipe: Recipe, data: LabeledData) -> list[torch.nn.Module]:
    """Train the same models one after another."""
    return [recipe.fit(subset(data, seed), LocalRuntime(seed)) for seed in SEEDS]


def check() -> None:
    """Raise AssertionError unless both ways give the same weights, but for rounding.

    They are compared after one epoch, before differences of rounding have grown.
    """
    data, recipe = load("digits").train, replace(RECIPE, epochs=1)
    plain = [model.parameters() for model in fit_plain(recipe, data)]
    for fused, same in zip(fit_fused(recipe, data), zip(*plain, strict=True), strict=True):
        expected = torch.stack([p.T if p.ndim == 2 else p[None] for p in same])
        torch.testing.assert_close(fused, expected, rtol=1e-3, atol=1e-5)


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

    check()
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
