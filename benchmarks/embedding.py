"""Entanglement by stream, against bare forward passes over the same rows.

What starting Ray Data costs is told apart: the stream's time runs from when its actor has measured
the first range of rows until it has measured the last one.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, time

import numpy as np
import torch
from _cifar import SOURCE, images
from _harness import Rates, Row, Side, compared, interleave, process, ratio, refuse_spread, save

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.data.bundle import Indices
from rum_ray.jobs.accumulators import Floats, Measure, MeasureGroups
from rum_ray.models import embed
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

MODEL, ROWS, REPETITIONS = "resnet18", 1_500, 2


def network() -> torch.nn.Module:
    """Return the model as it embeds."""
    return Recipe(MODEL).build(images(PREDICTION_BATCH), Seed(0)).eval()


def bare() -> Side:
    """Return a side that embeds all rows and keeps nothing."""
    runtime, net, x = LocalRuntime(Seed(0), threads=1), network(), images(ROWS).x

    def run() -> float:
        with torch.inference_mode():
            return sum(len(embed(net, inputs)) for inputs, _ in fixed_batches(x, runtime.device))

    return run


def moments(width: int) -> Side:
    """Return a side that takes the moments of embeddings, range by range."""
    LocalRuntime(Seed(0), threads=1)
    points = np.random.default_rng(0).normal(size=(PREDICTION_BATCH, width))
    return lambda: sum(Moments.of(points).count for _ in range(400))


@dataclass(frozen=True, eq=False)
class Timed:
    """A measure that also notes when each range was measured."""

    measure: MeasureGroups

    def __call__(self, embed_rows: Callable[[Indices], Floats]) -> Measure:
        """Return a model's measure, which also gives "time"."""
        begun = self.measure(embed_rows)
        return lambda rows, points: {**begun(rows, points), "time": np.array([time()])}


def streamed() -> tuple[float, float]:
    """Stream moments and waves of a retain and a forget set.

    Return the seconds that the actor took from the first range of rows to the last, and the others.
    """
    from rum_ray.cluster.embed import shipped
    from rum_ray.cluster.stream import stream_ranges
    from rum_ray.jobs.stream import EmbeddingProbe, RowSource

    groups = (np.arange(ROWS) % 10 == 0).astype(np.int64)
    begin = Timed(MeasureGroups(groups, groups == 1, np.arange(PREDICTION_BATCH)))
    watcher = EmbeddingProbe(MODEL, shipped(network()), None, begin)
    rows = RowSource(images(ROWS).x, ROWS, torch.device("cpu"), 1)
    start = time()
    times = [float(arrays["time"][0]) for _, arrays in stream_ranges(rows, [watcher], 1, 0.0)]
    assert len(times) == ROWS // PREDICTION_BATCH
    working = max(times) - min(times)
    return working, time() - start - working


def main() -> None:
    from rum_ray.cluster.connect import connect
    from rum_ray.study.worker_pool import WORKER_SETTINGS

    ours, theirs, fixed = f"{MODEL}, stream", f"{MODEL}, bare", []
    rates: Rates = {ours: [], theirs: []}
    with connect(workers=1), contextlib.ExitStack() as stack:
        side = stack.enter_context(process(bare, environment=WORKER_SETTINGS))
        side()
        for _ in range(REPETITIONS):
            start = perf_counter()
            work = side()
            rates[theirs].append(work / (perf_counter() - start))
            working, others = streamed()
            fixed.append(others)
            rates[ours].append((ROWS - PREDICTION_BATCH) / working)
        print(rates, flush=True)
        refuse_spread(rates)
        side = stack.enter_context(process(moments, 512, environment=WORKER_SETTINGS))
        rates |= interleave({"moments of 512 numbers": side}, 5, "rows")
    what, share = "entanglement by stream", 100 * ratio(rates, theirs, "moments of 512 numbers")
    rows = [
        compared(f"{what}, {MODEL}", "<= 1.1 x", rates, theirs, ours, "bare forward passes"),
        Row(f"moments, {MODEL}", "<= 1 %", "bare forward passes", share),
    ]
    notes = {"data": SOURCE, "threads": 1, "streamed_rows": ROWS, "fixed_seconds": fixed}
    save("embedding", rows, rates, "rows", **notes)


if __name__ == "__main__":
    main()
