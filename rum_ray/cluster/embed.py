"""Embeddings streamed by Ray Data as sums: what leaves an actor is moments, never embeddings.

A block is a fixed range of 250 rows. The driver adds the ranges' moments in the order of the rows,
so that neither the number of actors nor the order in which blocks come changes a bit.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch
from numpy.typing import NDArray

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.errors import IntegrityError
from rum_ray.models import embed
from rum_ray.scores.entanglement import Moments
from rum_ray.training.runtime import set_threads
from rum_ray.work import Context, EmbeddingMoments

RETAIN = "retain"


def stream(
    context: Context, jobs: Sequence[EmbeddingMoments], workers: int, gpus: float = 0.0
) -> None:
    """Save, for each model, the moments of the retain set and of each subset's embeddings.

    All models see the data in one pass.

    Args:
        context: the data and the store.
        jobs: finished trainings, all with the same partition.
        workers: actors that embed.
        gpus: an actor's share of one.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    total = len(context.bundle.train)
    blocks = -(-total // PREDICTION_BATCH)
    embedded = ray.data.range(blocks, override_num_blocks=min(blocks, 4 * workers)).map_batches(
        _Embedder,
        fn_constructor_kwargs={"context": ray.put(context), "jobs": jobs},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    parts = pd.concat(embedded.iter_batches(batch_format="pandas", batch_size=None))
    for number, job in enumerate(jobs):
        moments = _sum(parts[parts["model"] == number], job.groups)
        counted = sum(sums.count for sums in moments.values())
        if counted != total:
            raise IntegrityError(f"the stream of embeddings has {counted} of {total} rows.")
        job.save(context, moments)


class _Embedder:
    """An actor that holds models and data, and turns ranges of rows into moments."""

    def __init__(
        self,
        context: Any,
        jobs: Sequence[EmbeddingMoments],
    ) -> None:
        self._context: Context = ray.get(context)
        set_threads(jobs[0].model.recipe.threads)
        self._models = [job.model.load(self._context) for job in jobs]
        self._groups = np.zeros(len(self._context.bundle.train), dtype=np.int64)
        self._names = jobs[0].groups
        for number, subset in enumerate(jobs[0].partition, start=1):
            self._groups[subset.rows] = number

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> pd.DataFrame:
        """Return the moments of each range, model and group, one a row."""
        rows = [row for block in batch["id"] for row in self._block(int(block))]
        return pd.DataFrame(rows, columns=["block", "model", "group", "size", "mean", "scatter"])

    def _block(self, block: int) -> list[tuple[object, ...]]:
        """Return the rows of one range."""
        start = block * PREDICTION_BATCH
        groups = self._groups[start : start + PREDICTION_BATCH]
        ((inputs, real),) = fixed_batches(
            self._context.bundle.train.x[start : start + PREDICTION_BATCH], self._context.device
        )
        rows: list[tuple[object, ...]] = []
        for number, model in enumerate(self._models):
            with torch.inference_mode():
                embeddings = embed(model, inputs)[:real].double().cpu().numpy()
            for group in np.unique(groups):
                moments = Moments.of(embeddings[groups == group])
                name = self._names[group]
                rows.append((block, number, name, moments.count, moments.mean, moments.scatter))
        return rows


def _sum(table: pd.DataFrame, names: Sequence[str]) -> dict[str, Moments]:
    """Return each group's moments, added in the order of the ranges."""
    ordered = table.sort_values("block")
    sums: dict[str, Moments] = {}
    for name in names:
        rows = ordered[ordered["group"] == name]
        for size, mean, scatter in zip(rows["size"], rows["mean"], rows["scatter"], strict=True):
            part = Moments(int(size), np.asarray(mean), float(scatter))
            sums[name] = sums[name] + part if name in sums else part
    return sums
