"""Embeddings of D in one go, as a reference for streams of ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.jobs import Context
from rum_ray.jobs.accumulators import Accumulator
from rum_ray.models import embed


def embeddings(context: Context, trained: Any, layer: str | None = None) -> np.ndarray:
    """All embeddings of D under a model that is finished."""
    model, train = trained.load(context), context.bundle.train
    with torch.inference_mode():
        batches = fixed_batches(train.x, context.device)
        return np.concatenate(
            [embed(model, x, layer)[:real].double().numpy() for x, real in batches]
        )


def stream(context: Context, jobs: Sequence[Any]) -> list[np.ndarray]:
    """Keep what the jobs measure; return each one's embeddings."""
    rows = np.arange(len(context.bundle.train))
    ranges = np.split(rows, rows[PREDICTION_BATCH::PREDICTION_BATCH])
    clouds = [embeddings(context, job.model, job.embedding) for job in jobs]
    for job, points in zip(jobs, clouds, strict=True):
        measure, tally = job.measure(context)(points.__getitem__), Accumulator()
        for part in ranges:
            tally.add(measure(part, points[part]))
        job.finish(context, tally)
    return clouds
