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
from rum_ray.rum import Partition
from rum_ray.scores.entanglement import Moments
from rum_ray.store import Artifact, Key
from rum_ray.training.runtime import set_threads
from rum_ray.work import Context, TrainModel

RETAIN = "retain"


def moments_key(context: Context, model: TrainModel, partition: Partition) -> Key:
    """Return the key of a model's moments by subset."""
    return Key("moments", {"model": model, "partition": partition, **context.learned})


def stream_moments(
    context: Context, models: Sequence[TrainModel], partition: Partition, workers: int
) -> int:
    """Save, for each model, the moments of the retain set and of each subset's embeddings.

    All models see the data in one pass. Models whose moments are there already take no part.

    Args:
        context: the data and the store.
        models: finished trainings.
        partition: the forget set and its subsets.
        workers: actors that embed.

    Returns:
        How many models took part.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    missing = [m for m in models if not context.store.has(moments_key(context, m, partition))]
    if not missing:
        return 0
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    total = len(context.bundle.train)
    blocks = -(-total // PREDICTION_BATCH)
    stream = ray.data.range(blocks, override_num_blocks=min(blocks, 4 * workers)).map_batches(
        _Embedder,
        fn_constructor_kwargs={
            "context": ray.put(context),
            "models": missing,
            "partition": partition,
        },
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    table = pd.concat(stream.iter_batches(batch_format="pandas", batch_size=None))
    for number, model in enumerate(missing):
        groups = _sum(table[table["model"] == number], (RETAIN, *partition.names))
        counted = sum(moments.count for moments in groups.values())
        if counted != total:
            raise IntegrityError(f"the stream of embeddings has {counted} of {total} rows.")
        arrays: dict[str, NDArray[Any]] = {}
        for group, moments in groups.items():
            arrays[f"{group}/mean"] = moments.mean
            arrays[f"{group}/count"] = np.array(moments.count)
            arrays[f"{group}/scatter"] = np.array(moments.scatter)
        context.store.save(moments_key(context, model, partition), Artifact(arrays), {})
    return len(missing)


def load_moments(context: Context, model: TrainModel, partition: Partition) -> dict[str, Moments]:
    """Return the moments of "retain" and of each subset."""
    arrays = context.store.load(moments_key(context, model, partition)).arrays
    return {
        group: Moments(
            int(arrays[f"{group}/count"]),
            arrays[f"{group}/mean"],
            float(arrays[f"{group}/scatter"]),
        )
        for group in (RETAIN, *partition.names)
    }


class _Embedder:
    """An actor that holds models and data, and turns ranges of rows into moments."""

    def __init__(
        self,
        context: Any,
        models: Sequence[TrainModel],
        partition: Partition,
    ) -> None:
        self._context: Context = ray.get(context)
        set_threads(models[0].recipe.threads)
        self._models = [model.load(self._context) for model in models]
        self._groups = np.zeros(len(self._context.bundle.train), dtype=np.int64)
        self._names = (RETAIN, *partition.names)
        for number, subset in enumerate(partition, start=1):
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
