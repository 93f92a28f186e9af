"""How much of the speed of a large bfloat16 matmul a ResNet-18 step reaches."""

import contextlib

import torch
import torch.nn.functional as F
from _harness import Row, Side, interleave, process, ratio, save
from torch.utils.flop_counter import FlopCounterMode

from rum_ray.data.bundle import LabeledData
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

THREADS = 2
BATCH = 128
STEPS = 2
SIZE = 2048


def matmul() -> Side:
    """Return a side that multiplies two matrices of 2048 x 2048 numbers; its work is GFLOP."""
    torch.set_num_threads(THREADS)
    left, right = (torch.randn(SIZE, SIZE, dtype=torch.bfloat16) for _ in range(2))
    times = 40

    def run() -> float:
        for _ in range(times):
            left @ right
        return times * 2 * SIZE**3 / 1e9

    return run


def step() -> Side:
    """Return a side that makes training steps on one batch; its work is the GFLOP counted."""
    runtime = LocalRuntime(Seed(0), threads=THREADS)
    recipe = Recipe("resnet18", lr=0.01, precision="bfloat16")
    data = LabeledData(torch.rand(BATCH, 3, 32, 32), torch.arange(BATCH) % 10)
    model = recipe.build(data, runtime.seed)
    forward, optimizer = recipe.forward(model.train()), recipe.new_optimizer(model)
    x = data.x.contiguous(memory_format=torch.channels_last)

    def once() -> None:
        optimizer.zero_grad()
        F.cross_entropy(forward(x), data.y).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        once()
    work = STEPS * counter.get_total_flops() / 1e9

    def run() -> float:
        for _ in range(STEPS):
            once()
        return work

    return run


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS

    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        sides = {
            "matmul": start(process(matmul, environment=WORKER_SETTINGS)),
            "step": start(process(step, environment=WORKER_SETTINGS)),
        }
        rates = interleave(sides, 7, "GFLOP")
    share = 100 * ratio(rates, "step", "matmul")
    row = Row("speed of a resnet18 step, bfloat16", ">= 65 %", f"matmul of {SIZE} numbers", share)
    save("step_share", [row], rates, "GFLOP", threads=THREADS, batch=BATCH)


if __name__ == "__main__":
    main()
