"""Embeddings streamed by Ray Data: what leaves an actor is sums, distances and a small sample.

A block is a fixed range of 250 rows. The driver adds the ranges' sums in the order of the rows, so
that neither the number of actors nor the order in which blocks come changes a bit. It holds one sum
a model and group, and what came before its turn, however many rows there are.
"""

import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import pandas as pd
import ray
import torch
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.data.bundle import Indices
from rum_ray.digest import digest
from rum_ray.errors import IntegrityError
from rum_ray.models import embed
from rum_ray.store import Key
from rum_ray.training.recipe import Recipe
from rum_ray.training.runtime import set_threads
from rum_ray.work import Context
from rum_ray.work.measures import Arrays, Begin, Floats, Tally

MAX_RANGES = 16
"""In one task; so what is held back stays small."""


class Model(Protocol):
    """Something that gives a trained model."""

    @property
    def recipe(self) -> Recipe:
        """How it was trained; its threads count."""
        ...

    def load(self, context: Context) -> nn.Module:
        """Return the model."""
        ...


class Streamed(Protocol):
    """Something that is made of one model's embeddings of D."""

    @property
    def model(self) -> Model:
        """What embeds."""
        ...

    @property
    def embedding(self) -> str | None:
        """The layer that embeds; None is the model's own choice."""
        ...

    def key(self, context: Context) -> Key:
        """Return the key of what is made."""
        ...

    def measure(self, context: Context) -> Begin:
        """Return what is measured of each range."""
        ...

    def finish(self, context: Context, tally: Tally) -> None:
        """Keep what was measured."""
        ...


def stream(context: Context, jobs: Sequence[Streamed], workers: int, gpus: float = 0.0) -> None:
    """Keep what each job measures of its model's embeddings of D.

    All jobs see the data in one pass, and jobs of one model and layer share its embeddings.

    Args:
        context: the data and the store.
        jobs: their models must be finished.
        workers: actors that embed.
        gpus: an actor's share of one.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    tallies = [Tally() for _ in jobs]
    for number, part in _pass(context, jobs, workers, gpus):
        tallies[number].add(part)
    for job, tally in zip(jobs, tallies, strict=True):
        job.finish(context, tally)


def _pass(
    context: Context, jobs: Sequence[Streamed], workers: int, gpus: float
) -> Iterator[tuple[int, Arrays]]:
    """Yield each job's number and what is measured of each range, in the order of the ranges."""
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = -(-len(context.bundle.train) // PREDICTION_BATCH)
    tasks = min(blocks, max(4 * workers, blocks // MAX_RANGES))
    needed = {"context": context, "jobs": jobs, "begins": [job.measure(context) for job in jobs]}
    measured = ray.data.range(blocks, override_num_blocks=tasks).map_batches(
        _Embedder,
        fn_constructor_args=(ray.put(needed),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    batches = measured.iter_batches(batch_format="pandas", batch_size=None)
    yield from _in_order(batches, blocks, len(jobs))


def _in_order(batches: Iterable[Any], blocks: int, jobs: int) -> Iterator[tuple[int, Arrays]]:
    """Yield what was measured of each range, holding back what comes before its turn.

    Args:
        batches: tables of block, job and part, in any order.
        blocks: how many ranges there are.
        jobs: how many measure each.

    Raises:
        IntegrityError: a range is missing, or there twice.
    """
    early: dict[int, list[tuple[int, bytes]]] = {}
    turn = 0
    for batch in batches:
        for block, number, part in batch[["block", "job", "part"]].itertuples(index=False):
            early.setdefault(int(block), []).append((int(number), part))
        while len(early.get(turn, ())) == jobs:
            yield from ((number, pickle.loads(part)) for number, part in early.pop(turn))
            turn += 1
    if turn < blocks or early:
        raise IntegrityError(f"the stream of embeddings has {turn} of {blocks} ranges once.")


class _Embedder:
    """An actor that holds models and data, and measures ranges of embeddings."""

    def __init__(self, needed: Any) -> None:
        given = ray.get(needed)
        self._context: Context = given["context"]
        jobs: Sequence[Streamed] = given["jobs"]
        set_threads(jobs[0].model.recipe.threads)
        self._sources = [(digest(job.model), job.embedding) for job in jobs]
        models = {digest(job.model): job.model.load(self._context) for job in jobs}
        self._embeds = {
            (model, layer): partial(self._embed, models[model], layer)
            for model, layer in self._sources
        }
        self._measures = [
            begin(self._embeds[source])
            for begin, source in zip(given["begins"], self._sources, strict=True)
        ]

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
        """Return what is measured of each range, one a row and job."""
        found = []
        for block in map(int, batch["id"]):
            start = block * PREDICTION_BATCH
            rows = np.arange(start, min(start + PREDICTION_BATCH, len(self._context.bundle.train)))
            points = {source: embed_rows(rows) for source, embed_rows in self._embeds.items()}
            for number, source in enumerate(self._sources):
                part = self._measures[number](rows, points[source])
                found.append((block, number, pickle.dumps(part)))
        return pd.DataFrame(found, columns=["block", "job", "part"])

    def _embed(self, model: nn.Module, layer: str | None, rows: Indices) -> Floats:
        """Return the embeddings of rows, in batches of a fixed size."""
        x = self._context.bundle.train.x[torch.from_numpy(rows)]
        with torch.inference_mode():
            parts = [
                embed(model, inputs, layer)[:real].double().cpu().numpy()
                for inputs, real in fixed_batches(x, self._context.device)
            ]
        return np.concatenate(parts)
