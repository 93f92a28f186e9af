"""Embeddings streamed in ranges of rows by Ray Data.

Inputs and embeddings stay on the actors. The driver holds only the measurements that arrive early,
a number that does not depend on the number of rows.
"""

import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import ray
from torch import Tensor

from rum_ray.errors import RumRayError
from rum_ray.jobs.stream import EmbeddingProbe, Measured, RangeEmbedder, RowSource, in_order

MAX_RANGES = 16
"""Ranges per task; this bounds the measurements that the driver holds back."""
BLOCK_BYTES = 16 * 2**20
"""Size of the results of a task; this bounds their share of the object store."""


def stream_ranges(
    rows: RowSource,
    probes: Sequence[EmbeddingProbe],
    workers: int,
    resources: Mapping[str, float],
    title: str = "rum_ray",
) -> Measured:
    """Yield the number of each probe and its measurements of each range, in the order of ranges.

    With GPUs, tasks decode encoded images ahead of the models; otherwise Ray Data fuses both steps.

    Args:
        rows: rows to stream.
        probes: the models and their measures.
        workers: actors that embed.
        resources: "CPU" and "GPU" of an actor; a task that decodes images takes the same CPU.
        title: name of the experiment, for the names of the actors.

    Raises:
        IntegrityError: a range is missing, or there twice.
        RumRayError: the error of reading or embedding a range.
    """
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    settings.target_max_block_size = BLOCK_BYTES
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ranges = rows.ranges
    tasks = min(ranges, max(4 * workers, ranges // MAX_RANGES))
    cpus, gpus = resources["CPU"], resources.get("GPU", 0.0)
    # A range of Ray Data is made by tasks, which ask for whole CPUs.
    source: ray.data.Dataset = ray.data.from_items(
        [{"id": n} for n in range(ranges)], override_num_blocks=tasks
    )
    if not isinstance(rows.source, Tensor):
        read, most = partial(_read, ray.put(rows)), _most_tasks() if gpus else None
        compute = ray.data.TaskPoolStrategy(most)
        source = source.map_batches(read, batch_size=None, compute=compute, num_cpus=cpus)
    parts = source.map_batches(
        # Ray Data names an actor after its class.
        type(f"{title}-embeddings", (_Embedder,), {}),
        fn_constructor_args=(ray.put((rows, probes)),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    batches = parts.iter_batches(batch_format="pandas", batch_size=None)
    for number, part in in_order(_parts(batches), ranges, len(probes)):
        yield number, _unpickle(part)


def _most_tasks() -> int:
    """Return the CPUs of the cluster; more tasks than that may ask for slices of them."""
    return max(int(ray.cluster_resources()["CPU"]), 1)  # type: ignore[no-untyped-call]


def _parts(batches: Any) -> Iterator[tuple[int, int, bytes]]:
    """Yield the range, the probe and the pickled measurements of each row of the tables."""
    for batch in batches:
        for number, probe, part in batch[["range", "probe", "part"]].itertuples(index=False):
            yield int(number), int(probe), part


def _read(source: Any, batch: Any) -> pd.DataFrame:
    """Return ranges with their inputs, pickled; a task of Ray Data."""
    rows = ray.get(source)
    parts = [rows.range(number) for number in batch["id"]]
    inputs: Sequence[Any]
    try:
        inputs = rows.read(np.concatenate(parts)).split([len(part) for part in parts])
    except RumRayError as error:
        inputs = [error] * len(parts)
    return pd.DataFrame({"id": batch["id"], "x": [pickle.dumps(x) for x in inputs]})


class _Embedder:
    """An actor that measures ranges of embeddings."""

    def __init__(self, source: Any) -> None:
        rows, self._probes = ray.get(source)
        self._embedder: RangeEmbedder | RumRayError
        try:
            self._embedder = RangeEmbedder(rows, self._probes)
        except RumRayError as error:
            self._embedder = error

    def __call__(self, batch: Any) -> pd.DataFrame:
        """Return the measurements of each range, one row per range and probe."""
        found = []
        for at, number in enumerate(map(int, batch["id"])):
            parts: Sequence[Any]
            try:
                if isinstance(self._embedder, RumRayError):
                    raise self._embedder
                x = _unpickle(batch["x"][at]) if "x" in batch else None
                parts = self._embedder.measure(number, x)
            except RumRayError as error:
                parts = [error] * len(self._probes)
            found += [(number, probe, pickle.dumps(part)) for probe, part in enumerate(parts)]
        return pd.DataFrame(found, columns=["range", "probe", "part"])


def _unpickle(pickled: bytes) -> Any:
    """Return the result of another process, or raise its error.

    Errors travel as results, because Ray Data would lose their message.
    """
    result = pickle.loads(pickled)
    if isinstance(result, RumRayError):
        raise result
    return result
