"""A pool of 100,000 models: memory of the driver, requests to the store, files.

Scores come from counts that are streamed over records; the baseline unpacks all records into two
matrices [M, N]. The store lists what it has and packs a thousand records into a file; the baseline
asks for each key and has two files per model. The records are invented. Times are CPU seconds of
this process, which other processes of the machine change little. The S3 server is moto.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
import torch
from _harness import Row, alone, compared, memory, refuse_spread, save
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from numpy.typing import NDArray

from rum_ray.data import DataBundle, LabeledData
from rum_ray.jobs import Context, TrainPoolModel
from rum_ray.scores.memorization import InOutCounts, PoolBits, PoolCounter
from rum_ray.scores.reliability import changed_share, split_half
from rum_ray.seeding import Seed
from rum_ray.store import PACK_RECORDS, Artifact, Key, Store
from rum_ray.store.artifact import format_file
from rum_ray.store.bucket import Bucket
from rum_ray.training.recipe import Recipe

MODELS, EXAMPLES, FORGET = 100_000, 50_000, 1_000
SMALL, KEYS, REPETITIONS, TURNS = 2_000, 10_000, 3, 16

Record = tuple[int, NDArray[np.uint8], NDArray[np.uint8]]


def records(models: int, examples: int) -> Iterator[Record]:
    """Yield half and packed bits of invented models; 255 of them differ."""
    draws = np.random.default_rng(0)
    width = -(-examples // 8)
    bits = draws.integers(0, 256, (255, 2, width), dtype=np.uint8)
    return ((model % 2, *bits[model % 255]) for model in range(models))


def by_matrix(models: int, examples: int) -> tuple[InOutCounts, ...]:
    """Return the counts of both halves from two matrices [M, N]."""
    included, correct = np.empty((2, models, examples), dtype=bool)
    for model, (_, *packed) in enumerate(records(models, examples)):
        included[model], correct[model] = (np.unpackbits(p, count=examples) for p in packed)
    return tuple(InOutCounts.of(included[half::2], correct[half::2]) for half in (0, 1))


def by_counts(models: int, examples: int) -> tuple[InOutCounts, ...]:
    """Return the counts of both halves, streamed."""
    counter = PoolCounter(examples, groups=2)
    for record in records(models, examples):
        counter.add(*record)
    return counter.counts()


def reading(way: int) -> dict[str, float]:
    """Return the peak growth of memory in MB of one way to read a small pool."""
    before = memory("self", "VmRSS")
    (by_matrix, by_counts)[way](SMALL, EXAMPLES)
    return {"MB": memory("self", "VmHWM") - before}


def driver() -> dict[str, float]:
    """Return the memory in MB of a process that scores the whole pool, step by step."""
    found = {"start": memory("self", "VmRSS")}
    blank = LabeledData(torch.zeros(EXAMPLES, 1), torch.zeros(EXAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        context = Context(DataBundle("blank", blank, blank, blank), Store(folder))
        pool = Seed(0) / "pool"
        jobs = [TrainPoolModel(Recipe("mlp"), pool / m, 0.7) for m in range(MODELS)]
        assert len(context.missing(context.distinct(jobs))) == MODELS
        found["jobs"] = memory("self", "VmHWM")
        halves = by_counts(MODELS, EXAMPLES)
        assert np.isfinite(split_half(*halves))
        found["counts"] = memory("self", "VmHWM")
        included, correct = np.empty((2, MODELS, FORGET // 8), dtype=np.uint8)
        for model, (_, *packed) in enumerate(records(MODELS, EXAMPLES)):
            included[model], correct[model] = (bits[: FORGET // 8] for bits in packed)
        changed_share(PoolBits(included, correct, FORGET), 3, Seed(0))
    return {**found, "MB": memory("self", "VmHWM")}


def fill(store: Store, keys: list[Key], packed: bool) -> None:
    """Write small records of these keys, alone or in packs, without waiting for the disk."""
    bits = np.zeros(10, dtype=np.uint8)
    for start in range(0, len(keys), PACK_RECORDS):
        files = {}
        for key in keys[start : start + PACK_RECORDS]:
            files[key.digest] = Artifact({"included": bits, "correct": bits}).content(key)
            files[f"{key.digest}.json"] = b"{}"
        if packed:
            arrays = {name: np.frombuffer(content, np.uint8) for name, content in files.items()}
            _write(store, f"packs/pool/{start}.safetensors", format_file(arrays, {}))
        for name, content in {} if packed else files.items():
            _write(store, f"pool/{name}" + ("" if "." in name else ".safetensors"), content)


def _write(store: Store, path: str, content: bytes) -> None:
    """Write a file of a store."""
    if store.folder is None:
        store._place.replace(path, content)
        return
    (store.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (store.folder / path).write_bytes(content)


def packed_store() -> dict[str, float]:
    """Return growth of memory in MB, and CPU seconds, of a store of all models in packs."""
    with tempfile.TemporaryDirectory() as folder:
        keys = [Key.named("pool", f"{n:064x}") for n in range(MODELS)]
        fill(Store(folder), keys, packed=True)
        files = sum(len(names) for _, _, names in os.walk(folder))
        store, before, start = Store(folder), memory("self", "VmRSS"), process_time()
        assert all(store.have(keys))
        listed, index = process_time() - start, memory("self", "VmRSS") - before
        start = process_time()
        assert sum(1 for _ in store.load_each(keys)) == MODELS
        read = process_time() - start
        peak = memory("self", "VmHWM") - before
    return {"MB": index, "peak": peak, "listed": listed, "read": read, "files": files}


def cpu_rates(sides: dict[str, Callable[[], object]], work: float) -> dict[str, list[float]]:
    """Run the sides in turn and return the work per CPU second; first runs do not count.

    A repetition is the sum of several turns. Two sides meet the same caches and clock rates, so
    what must not spread is their ratio.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(REPETITIONS + 1):
        seconds = dict.fromkeys(sides, 0.0)
        for _ in range(TURNS):
            for name, side in sides.items():
                start = process_time()
                side()
                seconds[name] += process_time() - start
        if repetition:
            for name, total in seconds.items():
                rates[name].append(TURNS * work / total)
    print({name: [round(value, 1) for value in values] for name, values in rates.items()})
    one, other = rates.values()
    refuse_spread({" / ".join(rates): [a / b for a, b in zip(one, other, strict=True)]})
    return rates


def have_rates(folder: Path) -> dict[str, list[float]]:
    """Return keys per CPU second of `have`, listed and key by key, of records that are files."""
    store, keys = Store(folder), [Key.named("pool", f"{n:064x}") for n in range(KEYS)]
    fill(store, keys, packed=False)

    def by_key() -> None:
        assert all(map(store.has, keys))

    def by_list() -> None:
        assert all(store.have(keys))

    return cpu_rates({"key by key": by_key, "listed": by_list}, KEYS)


def s3_requests() -> dict[str, int]:
    """Return the requests to S3 for a thousand models: `have` and reading, alone and packed."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = f"scheme=http&endpoint_override=127.0.0.1%3A{server.get_host_and_port()[1]}"
    try:
        return {
            f"{kind}, {act}": number
            for kind in ("alone", "packed")
            for act, number in requests_of(f"s3://{kind}/x?{endpoint}&region=us-east-1").items()
        }
    finally:
        server.stop()


def requests_of(uri: str) -> dict[str, int]:
    """Return the number of requests of each act on a thousand models in a new bucket."""
    sent, found = [0], {}
    bucket = Store(uri)._place
    assert isinstance(bucket, Bucket)
    bucket._client.create_bucket(Bucket=bucket.bucket)

    def count(**_: object) -> None:
        sent[0] += 1

    bucket._client.meta.events.register("before-send.s3", count)
    keys = [Key.named("pool", f"{n:064x}") for n in range(PACK_RECORDS)]
    fill(Store(uri), keys, packed=bucket.bucket == "packed")
    acts: dict[str, Callable[[Store], object]] = {
        "have": lambda store: store.have(keys),
        "read": lambda store: [*store.load_each(keys)],
        "key by key": lambda store: [*map(store.has, keys)],
    }
    for name, act in acts.items():
        sent[0] = 0
        act(Store(uri))
        found[name] = sent[0]
    return found


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory() as folder:
        rates = have_rates(Path(folder))
    ways = {"matrix": by_matrix, "counts": by_counts}
    rates |= cpu_rates({n: partial(way, SMALL, EXAMPLES) for n, way in ways.items()}, SMALL)
    matrix, counts = (alone(__file__, way)["MB"] for way in (0, 1))
    whole, packs, requests = alone(__file__, 2), alone(__file__, 3), s3_requests()
    files = packs["files"] / (2 * MODELS)
    print(matrix, counts, whole, packs, requests, flush=True)
    size = f"{SMALL:,} models of {EXAMPLES:,} examples"
    have, scoring = f"`have` of {KEYS:,} keys in a folder, CPU time", f"scoring {size}, CPU time"
    listed = requests["alone, have"] / requests["alone, key by key"]
    read = requests["packed, read"] / requests["alone, read"]
    of_all = f"{MODELS:,} models of {EXAMPLES:,} examples"
    rows = [
        Row(f"peak memory of a driver that scores {of_all}", "<= 1000 MB", "-", whole["MB"]),
        Row(f"growth of memory while scoring {size}", "<= 0.5 x", "a matrix", counts / matrix),
        compared(scoring, ">= 1 x", rates, "counts", "matrix", "a matrix"),
        compared(have, ">= 1 x", rates, "listed", "key by key"),
        Row("`have` of 1,000 keys in S3: requests", "<= 0.01 x", "key by key", listed),
        Row("reading 1,000 records in S3: requests", "<= 0.01 x", "a file per record", read),
        Row(f"files of {MODELS:,} models", "<= 0.01 x", "two per model", files),
        Row(f"memory of the index of {MODELS:,} packed records", "<= 100 MB", "-", packs["MB"]),
    ]
    small = {"matrix": matrix, "counts": counts}
    notes = {"requests": requests, "packs": packs, "small MB": small, "driver MB": whole}
    save("pool_at_scale", rows, rates, "keys or models", forget=FORGET, **notes)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        way = int(sys.argv[1])
        print(json.dumps(reading(way) if way < 2 else (driver, packed_store)[way - 2]()))
    else:
        main()
