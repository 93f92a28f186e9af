"""Entanglement by stream, against bare forward passes over the same rows.

What starting Ray Data costs is timed apart, on a single range of rows, and taken off.
"""

import contextlib
from time import perf_counter

import numpy as np
import torch
from _cifar import SOURCE, images
from _harness import Row, Side, compared, interleave, process, ratio, refuse_spread, save

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.models import embed
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.work.measures import MeasureGroups

ROWS = {"resnet18": 750, "fast_cnn": 2_000}
REPETITIONS = 3


def network(model: str) -> torch.nn.Module:
    """Return a model as it embeds."""
    return Recipe(model).build(images(PREDICTION_BATCH), Seed(0)).eval()


def bare(model: str, count: int) -> Side:
    """Return a side that embeds all rows and keeps nothing."""
    runtime, net, x = LocalRuntime(Seed(0), threads=1), network(model), images(count).x

    def run() -> float:
        with torch.inference_mode():
            return sum(len(embed(net, inputs)) for inputs, _ in fixed_batches(x, runtime.device))

    return run


def moments(width: int) -> Side:
    """Return a side that takes the moments of embeddings, range by range."""
    LocalRuntime(Seed(0), threads=1)
    points = np.random.default_rng(0).normal(size=(PREDICTION_BATCH, width))
    return lambda: sum(Moments.of(points).count for _ in range(400))


def streamed(model: str, count: int) -> float:
    """Return the seconds of one pass: moments and waves of a retain and a forget set."""
    from rum_ray.cluster.embed import shipped
    from rum_ray.cluster.ranges import Rows, Watcher, measured

    groups = (np.arange(count) % 10 == 0).astype(np.int64)
    begin = MeasureGroups(groups, groups == 1, np.arange(PREDICTION_BATCH))
    watcher = Watcher(model, shipped(network(model)), None, begin)
    rows = Rows(images(count).x, count, torch.device("cpu"), 1)
    start = perf_counter()
    ranges = list(measured(rows, [watcher], 1, 0.0))
    assert len(ranges) == -(-count // PREDICTION_BATCH)
    return perf_counter() - start


def main() -> None:
    from rum_ray.cluster.connect import WORKER_SETTINGS, connect

    rows, rates, fixed = [], {}, []
    with connect(workers=1), contextlib.ExitStack() as stack:
        for model, count in ROWS.items():
            ours, theirs = f"{model}, stream", f"{model}, bare"
            side = stack.enter_context(process(bare, model, count, environment=WORKER_SETTINGS))
            rates |= {ours: [], theirs: []}
            side()
            streamed(model, PREDICTION_BATCH)
            for _ in range(REPETITIONS):
                start = perf_counter()
                work = side()
                rates[theirs].append(work / (perf_counter() - start))
                fixed.append(streamed(model, PREDICTION_BATCH))
                seconds = streamed(model, count) - fixed[-1]
                rates[ours].append((count - PREDICTION_BATCH) / seconds)
            print(theirs, rates[theirs], ours, rates[ours], flush=True)
            goal = "<= 1.1 x" if model == "resnet18" else "-"
            what = f"entanglement by stream, {model}"
            rows.append(compared(what, goal, rates, theirs, ours, "bare forward passes"))
        refuse_spread(rates)
        side = stack.enter_context(process(moments, 512, environment=WORKER_SETTINGS))
        rates |= interleave({"moments of 512 numbers": side}, 5, "rows")
    share = 100 * ratio(rates, "resnet18, bare", "moments of 512 numbers")
    rows.append(Row("moments, resnet18", "<= 1 %", "bare forward passes", share))
    save(
        "embedding",
        rows,
        rates,
        "rows",
        data=SOURCE,
        threads=1,
        rows_by_model=ROWS,
        fixed_seconds=fixed,
    )


if __name__ == "__main__":
    main()
