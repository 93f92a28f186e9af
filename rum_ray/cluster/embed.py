"""Embeddings of a data set or of encoded images, streamed through Ray Data."""

import copy
import importlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike
from ray import cloudpickle
from torch import nn

from rum_ray.cluster.connect import connect
from rum_ray.cluster.stream import stream_ranges
from rum_ray.cluster.train_run import slice_resources
from rum_ray.data.bundle import Indices
from rum_ray.data.rows import checked_rows
from rum_ray.data.source import Source
from rum_ray.errors import DataError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.jobs.accumulators import Accumulator, MeasureMoments
from rum_ray.jobs.job import Streamed
from rum_ray.jobs.stream import EmbeddingProbe, RowSource, stream_jobs
from rum_ray.scores.entanglement import Moments


def stream(
    context: Context,
    jobs: Sequence[Streamed],
    workers: int,
    resources: Mapping[str, float],
    title: str,
) -> None:
    """Measure the embeddings of D for each job and save the results.

    Args:
        context: the data and the store.
        jobs: their models are in the store.
        workers: actors that embed.
        resources: "CPU" and "GPU" of an actor.
        title: name of the experiment, for the names of the actors.

    Raises:
        IntegrityError: the stream lost or doubled rows.
    """
    streamed = partial(stream_ranges, workers=workers, resources=resources, title=title)
    stream_jobs(context, jobs, streamed)


def shipped(model: nn.Module) -> Callable[[], nn.Module]:
    """Return a function that returns the model in any process; classes are pickled by value."""
    on_cpu = copy.deepcopy(model).cpu()
    packed: bytes = cloudpickle.dumps(on_cpu)  # type: ignore[no-untyped-call]
    return partial(_unpack, packed)


def _unpack(packed: bytes) -> nn.Module:
    """Return a model that another process pickled."""
    # Blocks of torchvision need `rum_ray.models.vision` to be imported first.
    importlib.import_module("rum_ray.models.vision")
    model: nn.Module = pickle.loads(packed)
    return model


def stream_moments(
    rows: Source,
    model: nn.Module,
    groups: ArrayLike,
    layer: str | None = None,
    workers: int = 2,
    gpus: float = 0.0,
) -> dict[int, Moments]:
    """Return the moments of a model's embeddings of encoded images, by group.

    The images may exceed the memory: they are read and decoded range by range, each once.
    `rum_ray.entanglement_score` takes the moments of a retain set and a forget set. Ray is started
    on this machine if this process has joined no cluster. Actors find room beside busy workers.

    Args:
        rows: images; `rum_ray.open_source(path)`. They are RGB for the model unless all are grey.
        model: computes the embeddings; see `rum_ray.models.embed`.
        groups: [N] group per row, an integer of at least 0 or a truth value, such as 0 for the
            retain set and 1 for the forget set.
        layer: name of the layer that embeds; None is the model's own choice.
        workers: actors that embed, at least 1.
        gpus: share of a GPU per actor.

    Returns:
        Count, mean [d] and scatter of the embeddings per group that has rows.

    Raises:
        DataError: `groups` does not have one entry per row, or an image cannot be decoded.
        IntegrityError: the stream lost or doubled rows.
        ValueError: `workers` is less than 1.

    Example:
        >>> import rum_ray as rr
        >>> moments = rr.stream_moments(images, model, groups)  # doctest: +SKIP
        >>> rr.stream_moments(None, None, [0, 1], workers=0)
        Traceback (most recent call last):
        ValueError: workers must be at least 1, got 0
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    group_of = _check_groups(groups, len(rows.y))
    probe = EmbeddingProbe("", shipped(model), layer, MeasureMoments(group_of))
    device, accumulator = torch.device("cuda" if gpus else "cpu"), Accumulator()
    streamed = RowSource(rows.images(), len(group_of), device, 1)
    needs = {**slice_resources(ClusterConfig()), "GPU": gpus}
    with connect(workers=workers):
        for _, part in stream_ranges(streamed, [probe], workers, needs):
            accumulator.add(part)
    accumulator.check(len(group_of))
    return {int(group): sums.moments for group, sums in accumulator.sums.items()}


def _check_groups(groups: ArrayLike, count: int) -> Indices:
    """Return the group of each row in the smallest type that holds it."""
    given = np.asarray(groups)
    checked = checked_rows(given.astype(int) if given.dtype == bool else given, what="groups")
    if len(checked) != count:
        raise DataError(f"groups must have one entry per row; got {len(checked)} for {count} rows.")
    return checked.astype(np.min_scalar_type(checked.max(initial=0)))
