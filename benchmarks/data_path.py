"""Shuffled, cropped, mirrored and normalised batches: ours against PIL and torchvision."""

import contextlib

import torch
from _cifar import SOURCE, images, official_loader
from _harness import Side, compared, interleave, process, save

from rum_ray.data.batches import Batches
from rum_ray.models.classifier import Normalize
from rum_ray.seeding import Seed
from rum_ray.training.runtime import LocalRuntime

BATCH = 256
COUNT = {"official": 5_000, "ours": 45_000}
BASELINE = "PIL + torchvision, DataLoader(num_workers=0)"


def official() -> Side:
    """Return a side that takes one epoch from the published code's loader."""
    torch.set_num_threads(1)
    loader = official_loader(images(COUNT["official"]), BATCH)
    return lambda: sum(len(labels) for _, labels in loader)


def ours() -> Side:
    """Return a side that takes one epoch from our batches, and normalises as our models do."""
    data = images(COUNT["ours"])
    runtime = LocalRuntime(Seed(0), threads=1)
    batches = Batches(data, BATCH, runtime.device, augment=True)
    normalize = Normalize(data.mean, data.std)
    return lambda: sum(len(normalize(x)) for _, x, _ in batches.epoch(runtime.seed))


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        sides = {
            "official": start(process(official)),
            "official, our allocator": start(process(official, environment=WORKER_SETTINGS)),
            "ours": start(process(ours, environment=WORKER_SETTINGS)),
        }
        rates = interleave(sides, 7, "images")
    rows = [
        compared("data path", ">= 10 x", rates, "ours", "official", BASELINE),
        compared(
            "data path", "-", rates, "ours", "official, our allocator", f"{BASELINE}, our allocator"
        ),
    ]
    save("data_path", rows, rates, "images", data=SOURCE, threads=1, batch=BATCH, images=COUNT)


if __name__ == "__main__":
    main()
