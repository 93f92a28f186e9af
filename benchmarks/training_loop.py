"""Training end to end, data and steps, on two threads: `Recipe` against published code's style."""

import contextlib

import torch
import torch.nn.functional as F
from _cifar import SOURCE, images, official_loader
from _harness import Side, compared, interleave, process, save
from _training import epochs

from rum_ray.models import build
from rum_ray.training import Recipe

THREADS = 2
LR = 0.01
# Model: (batch size, examples of the slow and of the fast sides).
SIZES = {"resnet18": (128, 384, 384), "fast_cnn": (256, 512, 1024)}
GOALS = {"bfloat16": ">= 2.7 x", "float32": ">= 1.2 x"}


def official(model: str) -> Side:
    """Return a side that trains an epoch: PIL, float32, NCHW, default SGD, a read-back a step."""
    torch.set_num_threads(THREADS)
    batch, count, _ = SIZES[model]
    data = images(count)
    loader = official_loader(data, batch)
    network = build(model, data.shape, data.num_classes).train()  # the loader normalises
    optimizer = torch.optim.SGD(network.parameters(), LR, momentum=0.9, weight_decay=5e-4)

    def epoch() -> float:
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        return len(data)

    return epoch


def ours(model: str, precision: str) -> Side:
    """Return a side that trains an epoch as `Recipe.fit` does."""
    batch, slow, fast = SIZES[model]
    recipe = Recipe(
        model,
        lr=LR,
        batch_size=batch,
        augment=True,
        precision=precision,  # type: ignore[arg-type]
        threads=THREADS,
    )
    return epochs(recipe, images(fast if precision == "bfloat16" else slow))


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    rows, rates = [], {}
    for model in SIZES:
        with contextlib.ExitStack() as stack:
            start = stack.enter_context
            plain, settings = f"{model}, official", f"{model}, official, our allocator"
            sides = {
                plain: start(process(official, model)),
                settings: start(process(official, model, environment=WORKER_SETTINGS)),
                **{
                    f"{model}, {kind}": start(
                        process(ours, model, kind, environment=WORKER_SETTINGS)
                    )
                    for kind in GOALS
                },
            }
            rates |= interleave(sides, 2, "images")
        for kind, goal in GOALS.items():
            what = f"training loop, {model}, {kind}"
            side = f"{model}, {kind}"
            rows.append(compared(what, goal, rates, side, plain, "official style, float32"))
            rows.append(compared(what, "-", rates, side, settings, "the same, our allocator"))
    save("training_loop", rows, rates, "images", data=SOURCE, threads=THREADS, sizes=SIZES)


if __name__ == "__main__":
    main()
