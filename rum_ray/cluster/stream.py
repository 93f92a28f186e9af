"""Rows in fixed ranges of 250, streamed past models by Ray Data.

Whoever asks gets what is measured of each range in the order of the rows, so that neither the
number of actors nor the order in which ranges are done changes a bit. Inputs and embeddings stay on
the actors; the driver holds what came before its turn, however many rows there are.
"""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch
from torch import Tensor, nn

from rum_ray.data.batches import PREDICTION_BATCH, fixed_batches
from rum_ray.data.bundle import Indices
from rum_ray.data.pixels import Encoded, decode_pixels
from rum_ray.errors import IntegrityError, RumRayError
from rum_ray.jobs.accumulators import Arrays, Floats, MeasureFactory
from rum_ray.models import embed
from rum_ray.training.runtime import set_threads

MAX_RANGES = 16
"""In one task; so what is held back stays small."""
BLOCK_BYTES = 16 * 2**20
"""Of what a task returns: this bounds what the object store holds."""


@dataclass(frozen=True)
class EmbeddingProbe:
    """A model that the rows stream past, and what is measured of it.

    Attributes:
        name: of the model; watchers of one name and layer share its embeddings.
        load: returns it.
        layer: the layer that embeds; None is the model's own choice.
        begin: begins the measure.
    """

    name: str
    load: Callable[[], nn.Module]
    layer: str | None
    begin: MeasureFactory


@dataclass(frozen=True, eq=False)
class RowSource:
    """What is streamed.

    Attributes:
        source: inputs in memory, or encoded images. Where models have a GPU, tasks decode those
            ahead of them; else Ray Data does both in one place.
        count: how many there are.
        device: where the models compute.
        threads: of PyTorch.
    """

    source: Tensor | Encoded
    count: int
    device: torch.device
    threads: int

    def __len__(self) -> int:
        return self.count

    def range(self, number: int) -> Indices:
        """Return the rows of a range."""
        start = number * PREDICTION_BATCH
        return np.arange(start, min(start + PREDICTION_BATCH, len(self)))

    def read(self, rows: Indices) -> Tensor:
        """Return the inputs at sorted rows."""
        if isinstance(self.source, Tensor):
            return self.source[torch.from_numpy(rows)]
        return decode_pixels(self.source, rows)


def stream_ranges(
    rows: RowSource, watchers: Sequence[EmbeddingProbe], workers: int, gpus: float
) -> Iterator[tuple[int, Arrays]]:
    """Yield each watcher's number and what is measured of each range, in the order of ranges."""
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    settings.target_max_block_size = BLOCK_BYTES
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ranges = -(-len(rows) // PREDICTION_BATCH)
    tasks = min(ranges, max(4 * workers, ranges // MAX_RANGES))
    source = ray.data.range(ranges, override_num_blocks=tasks)
    if not isinstance(rows.source, Tensor):
        source = source.map_batches(partial(_read, ray.put(rows)), batch_size=None, num_cpus=1)
    parts = source.map_batches(
        _Embedder,
        fn_constructor_args=(ray.put((rows, watchers)),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    batches = parts.iter_batches(batch_format="pandas", batch_size=None)
    yield from _in_order(batches, ranges, len(watchers))


def _in_order(batches: Iterable[Any], ranges: int, watchers: int) -> Iterator[tuple[int, Arrays]]:
    """Yield what was measured of each range, holding back what comes before its turn.

    Args:
        batches: tables of range, watcher and part, in any order.
        ranges: how many there are.
        watchers: how many measure each.

    Raises:
        IntegrityError: a range is missing, or there twice.
        RumRayError: reading or embedding failed with it; the first range's that did.
    """
    early: dict[int, list[tuple[int, bytes]]] = {}
    turn = 0
    for batch in batches:
        for number, watcher, part in batch[["range", "watcher", "part"]].itertuples(index=False):
            early.setdefault(int(number), []).append((int(watcher), part))
        while len(early.get(turn, ())) == watchers:
            yield from ((watcher, _whole(part)) for watcher, part in early.pop(turn))
            turn += 1
    if turn < ranges or early:
        raise IntegrityError(f"the stream of embeddings has {turn} of {ranges} ranges once.")


def _read(given: Any, batch: Any) -> pd.DataFrame:
    """Return ranges with their inputs: what tasks do ahead of the actors that have models."""
    rows = ray.get(given)
    parts = [rows.range(number) for number in batch["id"]]
    inputs: Sequence[Any]
    try:
        inputs = rows.read(np.concatenate(parts)).split([len(part) for part in parts])
    except RumRayError as error:
        inputs = [error] * len(parts)
    return pd.DataFrame({"id": batch["id"], "x": [pickle.dumps(x) for x in inputs]})


class _Embedder:
    """An actor that holds models, and measures ranges of embeddings."""

    def __init__(self, given: Any) -> None:
        self._rows: RowSource
        self._watchers: Sequence[EmbeddingProbe]
        self._rows, self._watchers = ray.get(given)
        set_threads(self._rows.threads)
        load = {watcher.name: watcher.load for watcher in self._watchers}
        models = {name: load().to(self._rows.device).eval() for name, load in load.items()}
        self._embeds = {
            (w.name, w.layer): partial(self._embed, models[w.name], w.layer) for w in self._watchers
        }
        self._measures = [w.begin(partial(self._embed_rows, w)) for w in self._watchers]

    def __call__(self, batch: Any) -> pd.DataFrame:
        """Return what is measured of each range, one a row and watcher."""
        found = []
        for at, number in enumerate(map(int, batch["id"])):
            rows = self._rows.range(number)
            parts: Sequence[Any]
            try:
                x = _whole(batch["x"][at]) if "x" in batch else self._rows.read(rows)
                parts = self._measure(rows, x)
            except RumRayError as error:
                parts = [error] * len(self._watchers)
            found += [(number, watcher, pickle.dumps(part)) for watcher, part in enumerate(parts)]
        return pd.DataFrame(found, columns=["range", "watcher", "part"])

    def _measure(self, rows: Indices, x: Tensor) -> list[Arrays]:
        """Return what each watcher measures of a range."""
        points = {key: embeds(x) for key, embeds in self._embeds.items()}
        return [
            measure(rows, points[watcher.name, watcher.layer])
            for watcher, measure in zip(self._watchers, self._measures, strict=True)
        ]

    def _embed_rows(self, watcher: EmbeddingProbe, rows: Indices) -> Floats:
        """Return the embeddings of any sorted rows."""
        return self._embeds[watcher.name, watcher.layer](self._rows.read(rows))

    def _embed(self, model: nn.Module, layer: str | None, x: Tensor) -> Floats:
        """Return the embeddings of inputs, in batches of a fixed size."""
        with torch.inference_mode():
            parts = [
                embed(model, inputs, layer)[:real].double().cpu().numpy()
                for inputs, real in fixed_batches(x, self._rows.device)
            ]
        return np.concatenate(parts)


def _whole(pickled: bytes) -> Any:
    """Return what another process made, or raise the error that it met.

    Errors travel as what was made, since Ray Data would lose what they say.
    """
    made = pickle.loads(pickled)
    if isinstance(made, RumRayError):
        raise made
    return made
