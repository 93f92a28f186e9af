"""Embeddings streamed by Ray Data: what leaves an actor is sums, distances and a small sample.

A block is a fixed range of 250 rows. The driver adds the ranges' sums in the order of the rows, so
that neither the number of actors nor the order in which blocks come changes a bit. It holds one sum
a model and group, and what came before its turn, however many rows there are.
"""

import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import ray
import torch
from numpy.typing import NDArray

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.data.bundle import Indices
from rum_ray.errors import IntegrityError
from rum_ray.models import embed
from rum_ray.training.runtime import set_threads
from rum_ray.work import CentroidDistances, Context, EmbeddingMoments
from rum_ray.work.measures import Arrays, Begin, Floats, MeasureDistances, Sums, measure_all

MAX_RANGES = 16
"""In one task; so what is held back stays small."""
Jobs: TypeAlias = Sequence[EmbeddingMoments] | Sequence[CentroidDistances]


def stream(
    context: Context, jobs: Sequence[EmbeddingMoments], workers: int, gpus: float = 0.0
) -> None:
    """Save, for each model, what the embeddings of the retain set and of each subset sum to.

    All models see the data in one pass.

    Args:
        context: the data and the store.
        jobs: finished trainings, all with the same partition.
        workers: actors that embed.
        gpus: an actor's share of one.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    sums: list[dict[str, Sums]] = [{} for _ in jobs]
    samples: list[list[Floats]] = [[] for _ in jobs]
    begin = jobs[0].measure(len(context.bundle.train))
    for number, part in _pass(context, jobs, begin, workers, gpus):
        samples[number].append(part["sample"])
        _add(sums[number], part)
    for job, found, sample in zip(jobs, sums, samples, strict=True):
        job.finish(context, found, np.concatenate(sample))


def stream_distances(
    context: Context, jobs: Sequence[CentroidDistances], workers: int, gpus: float = 0.0
) -> None:
    """Save, for each model, the distances of D's embeddings to their centroid.

    All models see the data in two passes: for the centroids, then for the distances.

    Args:
        context: the data and the store.
        jobs: finished trainings.
        workers: actors that embed.
        gpus: an actor's share of one.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    sums: list[dict[str, Sums]] = [{} for _ in jobs]
    for number, part in _pass(context, jobs, measure_all, workers, gpus):
        _add(sums[number], part)
    begin = MeasureDistances([found["all"].moments.mean for found in sums])
    distances: list[list[Floats]] = [[] for _ in jobs]
    for number, part in _pass(context, jobs, begin, workers, gpus):
        distances[number].append(part["distances"])
    for job, parts in zip(jobs, distances, strict=True):
        job.finish(context, np.concatenate(parts))


def _add(sums: dict[str, Sums], part: Arrays) -> None:
    """Add a range's sums to those so far."""
    for key in part:
        name, _, array = key.partition("/")
        if array == "count":
            mine = Sums.read(part, name)
            sums[name] = sums[name] + mine if name in sums else mine


def _pass(
    context: Context, jobs: Jobs, begin: Begin, workers: int, gpus: float
) -> Iterator[tuple[int, Arrays]]:
    """Yield each job's number and what is measured of each range, in the order of the ranges."""
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = -(-len(context.bundle.train) // PREDICTION_BATCH)
    tasks = min(blocks, max(4 * workers, blocks // MAX_RANGES))
    measured = ray.data.range(blocks, override_num_blocks=tasks).map_batches(
        _Embedder,
        fn_constructor_kwargs={"context": ray.put(context), "jobs": jobs, "begin": begin},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    batches = measured.iter_batches(batch_format="pandas", batch_size=None)
    yield from _in_order(batches, blocks, len(jobs))


def _in_order(batches: Iterable[Any], blocks: int, models: int) -> Iterator[tuple[int, Arrays]]:
    """Yield what was measured of each range, holding back what comes before its turn.

    Args:
        batches: tables of block, model and part, in any order.
        blocks: how many ranges there are.
        models: how many are measured in each.

    Raises:
        IntegrityError: a range is missing, or there twice.
    """
    early: dict[int, list[tuple[int, bytes]]] = {}
    turn = 0
    for batch in batches:
        for block, number, part in batch[["block", "model", "part"]].itertuples(index=False):
            early.setdefault(int(block), []).append((int(number), part))
        while len(early.get(turn, ())) == models:
            yield from ((number, pickle.loads(part)) for number, part in early.pop(turn))
            turn += 1
    if turn < blocks or early:
        raise IntegrityError(f"the stream of embeddings has {turn} of {blocks} ranges once.")


class _Embedder:
    """An actor that holds models and data, and measures ranges of embeddings."""

    def __init__(self, context: Any, jobs: Jobs, begin: Begin) -> None:
        self._context: Context = ray.get(context)
        set_threads(jobs[0].model.recipe.threads)
        self._layer = jobs[0].embedding
        self._models = [job.model.load(self._context) for job in jobs]
        rows_of = [partial(self._embed, model) for model in self._models]
        self._measures = [begin(number, function) for number, function in enumerate(rows_of)]

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
        """Return what is measured of each range and model, one a row."""
        found = []
        for block in map(int, batch["id"]):
            start = block * PREDICTION_BATCH
            rows = np.arange(start, min(start + PREDICTION_BATCH, len(self._context.bundle.train)))
            for number, model in enumerate(self._models):
                part = self._measures[number](rows, self._embed(model, rows))
                found.append((block, number, pickle.dumps(part)))
        return pd.DataFrame(found, columns=["block", "model", "part"])

    def _embed(self, model: torch.nn.Module, rows: Indices) -> Floats:
        """Return the embeddings of rows, in batches of a fixed size."""
        x = self._context.bundle.train.x[torch.from_numpy(rows)]
        with torch.inference_mode():
            parts = [
                embed(model, inputs, self._layer)[:real].double().cpu().numpy()
                for inputs, real in fixed_batches(x, self._context.device)
            ]
        return np.concatenate(parts)
