"""Embeddings streamed past models in fixed ranges of 250 rows, without Ray.

Results arrive in the order of the rows, so the number of processes and the order in which ranges
finish change no bit. Embeddings are not stored: a job keeps sums, distances or a small sample.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.data.bundle import Indices
from rum_ray.data.pixels import Images
from rum_ray.digest import digest
from rum_ray.errors import IntegrityError
from rum_ray.jobs.accumulators import Accumulator, Arrays, Floats, MeasureFactory
from rum_ray.jobs.context import Context
from rum_ray.jobs.job import Streamed
from rum_ray.models import embed
from rum_ray.training.runtime import set_threads

MAX_MODELS = 32
"""Models in one pass: each process holds them all."""


@dataclass(frozen=True)
class EmbeddingProbe:
    """A model that the rows stream past, and the measure of its embeddings.

    Attributes:
        name: name of the model; probes with the same name and layer share its embeddings.
        load: returns the model.
        layer: the layer that embeds; None is the model's own choice.
        begin: makes the measure.
    """

    name: str
    load: Callable[[], nn.Module]
    layer: str | None
    begin: MeasureFactory


@dataclass(frozen=True, eq=False)
class RowSource:
    """The rows that are streamed.

    Attributes:
        source: inputs in memory, or encoded images.
        count: number of rows.
        device: where the models compute.
        threads: threads of PyTorch.
    """

    source: Tensor | Images
    count: int
    device: torch.device
    threads: int

    def __len__(self) -> int:
        return self.count

    @property
    def ranges(self) -> int:
        """The number of ranges."""
        return -(-self.count // PREDICTION_BATCH)

    def range(self, number: int) -> Indices:
        """Return the rows of a range."""
        start = number * PREDICTION_BATCH
        return np.arange(start, min(start + PREDICTION_BATCH, len(self)))

    def read(self, rows: Indices) -> Tensor:
        """Return the inputs at sorted rows."""
        if isinstance(self.source, Tensor):
            return self.source[torch.from_numpy(rows)]
        return self.source.decode(rows)


class RangeEmbedder:
    """The models of the probes, loaded in one process, and their measures."""

    def __init__(self, rows: RowSource, probes: Sequence[EmbeddingProbe]) -> None:
        """Load each model once and make each measure."""
        self.rows = rows
        set_threads(rows.threads)
        loaders = {probe.name: probe.load for probe in probes}
        models = {name: load().to(rows.device).eval() for name, load in loaders.items()}
        self._keys = [(probe.name, probe.layer) for probe in probes]
        self._embed = {key: partial(self._points, models[key[0]], key[1]) for key in self._keys}
        self._measures = [
            probe.begin(partial(self._embed_rows, key))
            for probe, key in zip(probes, self._keys, strict=True)
        ]

    def measure(self, number: int, x: Tensor | None = None) -> list[Arrays]:
        """Return the measurements of a range, one per probe.

        Args:
            number: number of the range, from 0.
            x: inputs of the range; None reads them from the source.
        """
        rows = self.rows.range(number)
        inputs = self.rows.read(rows) if x is None else x
        points = {key: embeds(inputs) for key, embeds in self._embed.items()}
        return [
            measure(rows, points[key])
            for measure, key in zip(self._measures, self._keys, strict=True)
        ]

    def _embed_rows(self, key: tuple[str, str | None], rows: Indices) -> Floats:
        """Return the embeddings of sorted rows."""
        return self._embed[key](self.rows.read(rows))

    def _points(self, model: nn.Module, layer: str | None, x: Tensor) -> Floats:
        """Return the embeddings of inputs, in batches of a fixed size."""
        with torch.inference_mode():
            parts = [
                embed(model, inputs, layer)[:real].double().cpu().numpy()
                for inputs, real in fixed_batches(x, self.rows.device)
            ]
        return np.concatenate(parts)


Measured: TypeAlias = Iterator[tuple[int, Arrays]]
"""Numbers of probes, each with the measurements of a range; ranges come in order."""


class StreamRanges(Protocol):
    """Measures all ranges of the rows, in this process or in many."""

    def __call__(self, rows: RowSource, probes: Sequence[EmbeddingProbe]) -> Measured:
        """Yield the number of each probe and its measurements of each range, range by range."""
        ...


def stream_here(rows: RowSource, probes: Sequence[EmbeddingProbe]) -> Measured:
    """Measure all ranges in this process."""
    embedder = RangeEmbedder(rows, probes)
    for number in range(rows.ranges):
        yield from enumerate(embedder.measure(number))


def in_order(parts: Iterable[tuple[int, int, Any]], ranges: int, probes: int) -> Iterator[Any]:
    """Yield the number of each probe and its part of each range, in the order of ranges.

    Args:
        parts: (range, probe, part) in any order; parts of later ranges are held back.
        ranges: number of ranges.
        probes: number of parts per range.

    Raises:
        IntegrityError: a range is missing, or arrives twice.
    """
    early: dict[int, list[tuple[int, Any]]] = {}
    turn = 0
    for number, probe, part in parts:
        early.setdefault(number, []).append((probe, part))
        while len(early.get(turn, ())) == probes:
            yield from early.pop(turn)
            turn += 1
    if turn < ranges or early:
        raise IntegrityError(
            f"the stream of embeddings delivered {turn} of {ranges} ranges exactly once."
        )


def stream_jobs(context: Context, jobs: Sequence[Streamed], stream: StreamRanges) -> None:
    """Measure the embeddings of D for each job and save the results.

    Up to 32 jobs share one pass over the data; jobs of one model and layer share its embeddings.
    Jobs that others require run first.

    Raises:
        IntegrityError: rows were lost or measured twice.
    """
    required = context.distinct(first for job in jobs for first in job.requires)
    for pending in (context.missing(required), jobs):
        for start in range(0, len(pending), MAX_MODELS):
            _one_pass(context, pending[start : start + MAX_MODELS], stream)


def _one_pass(context: Context, jobs: Sequence[Streamed], stream: StreamRanges) -> None:
    """Run the jobs in one pass over D."""
    probes = [
        EmbeddingProbe(
            digest(job.model),
            partial(job.model.load, context),
            job.embedding,
            job.measure(context),
        )
        for job in jobs
    ]
    accumulators = [Accumulator() for _ in jobs]
    train, threads = context.bundle.train, jobs[0].model.recipe.threads
    for number, part in stream(RowSource(train.x, len(train), context.device, threads), probes):
        accumulators[number].add(part)
    for job, accumulator in zip(jobs, accumulators, strict=True):
        job.finish(context, accumulator)
