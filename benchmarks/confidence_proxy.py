"""What recording the learning events of every example costs a training."""

import contextlib

import torch
from _cifar import SOURCE, images
from _harness import Side, compared, interleave, process, save

from rum_ray.data import load
from rum_ray.data.batches import Batches
from rum_ray.scores.learning_events import LearningEvents
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

# Model: (batch size, epochs a repetition); fast_cnn on 512 images, mlp on the digits.
SIZES = {"fast_cnn": (256, 1), "mlp": (64, 60)}


def training(model: str, observed: bool) -> Side:
    """Return a side that trains some epochs, with learning events or without."""
    batch, epochs = SIZES[model]
    data = load("digits").train if model == "mlp" else images(512)
    recipe = Recipe(model, lr=0.01, batch_size=batch)
    runtime = LocalRuntime(Seed(0), threads=1)
    network = recipe.build(data, runtime.seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = recipe.optimizer(network)
    batches = Batches(data, batch, runtime.device, augment=model != "mlp")
    events = LearningEvents(len(data)) if observed else None

    def run() -> float:
        for epoch in range(epochs):
            recipe.epoch(network, optimizer, batches, runtime.seed / epoch, events)
        return epochs * len(data)

    return run


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    rows, rates = [], {}
    for model in SIZES:
        bare, seen = f"{model}, without", f"{model}, with events"
        with contextlib.ExitStack() as stack:
            sides = {
                name: stack.enter_context(
                    process(training, model, name == seen, environment=WORKER_SETTINGS)
                )
                for name in (bare, seen)
            }
            rates |= interleave(sides, 7, "examples")
        what = f"learning events, {model}"
        rows.append(compared(what, "<= 1.02 x", rates, bare, seen, "training without them"))
    save("confidence_proxy", rows, rates, "examples", data=SOURCE, threads=1, sizes=SIZES)


if __name__ == "__main__":
    main()
