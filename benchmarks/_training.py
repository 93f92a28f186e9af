"""Training as a side of a benchmark."""

from _harness import Side

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import LabeledData
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Observe, Recipe


def epochs(
    recipe: Recipe, data: LabeledData, count: int = 1, observe: Observe | None = None
) -> Side:
    """Return a side that trains some epochs as `Recipe.fit` does; its work is examples."""
    runtime = LocalRuntime(Seed(0), threads=recipe.threads)
    network = recipe.build(data, runtime.seed)
    optimizer = recipe.new_optimizer(network)
    batches = Batches(data, recipe.batch_size, runtime.device, recipe.augment)

    def run() -> float:
        for epoch in range(count):
            recipe.epoch(network, optimizer, batches, runtime.seed / epoch, observe)
        return count * len(data)

    return run
