"""The queue of jobs at scale: hand-outs a second, and memory of its actor and of the driver.

Two workers run the loop of a Train worker on jobs that do nothing, so what is left is the queue. A
hand-out is a chunk of eight jobs: one request, their lookup, and the note that they are done. The
bound is the rate of empty calls, which the same workers make to an actor that does nothing. Each
size has a driver and a Ray of its own; what counts of memory is how much a process grows from
before the jobs exist to its peak.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from statistics import median
from time import perf_counter
from typing import Any

import ray
from _harness import Row, alone, memory, refuse_spread, save

from rum_ray.cluster.backlog import MAX_CHUNK
from rum_ray.cluster.connect import connect
from rum_ray.cluster.pool import WATCH_SECONDS, start_queue
from rum_ray.cluster.queue import Lease
from rum_ray.cluster.work import Outcome, in_blocks, reader
from rum_ray.cluster.worker import drain
from rum_ray.jobs import TrainPoolModel
from rum_ray.seeding import Seed
from rum_ray.training.recipe import Recipe

WORKERS, REPETITIONS = 2, 3
SIZES = (1_000, 10_000)


@ray.remote(num_cpus=0)
class Empty:
    """An actor that does nothing, as asynchronous as the queue."""

    async def take(self, name: str, stage: int, done: dict[int, Any]) -> Lease:
        """Return the same lease."""
        return Lease(stage, range(MAX_CHUNK), {})


@ray.remote(num_cpus=1)
class Worker:
    """Takes all jobs and does nothing with them."""

    def ask(self, empty: Any, calls: int) -> None:
        """Call an empty actor as often, with as many results, as a worker calls the queue."""
        done = dict.fromkeys(range(MAX_CHUNK))
        for _ in range(calls):
            ray.get(empty.take.remote("worker", 0, done))

    def ready(self) -> None:
        """Exist."""

    def work(self, queue: Any, rank: int) -> None:
        """Run the loop of a Train worker."""
        ray.get(queue.register.remote(f"{rank}", "shard", rank, "CPU"))

        def load(stage: int) -> Callable[[Lease], Iterable[Outcome]]:
            job = reader(ray.get(queue.work.remote(stage)))

            def run(lease: Lease) -> Iterable[Outcome]:
                assert all(job(index) is not None for index in lease.jobs)
                return [Outcome(index, None) for index in lease.jobs]

            return run

        drain(queue, f"{rank}", load)


def campaign(chunks: int, workers: list[Any]) -> dict[str, float]:
    """Hand out so many chunks; return them a second, and growth in MB."""
    recipe, pool = Recipe("mlp"), Seed(0) / "pool"
    before = memory("self", "VmRSS")
    jobs = [TrainPoolModel(recipe, pool / m, 0.7) for m in range(chunks * MAX_CHUNK)]
    start = perf_counter()
    queue = start_queue()
    pid = ray.get(queue.__ray_call__.remote(lambda self: os.getpid()))
    queue_before = memory(pid, "VmRSS")
    kinds = [type(job).__name__ for job in jobs]
    ray.get(queue.open.remote(kinds, WORKERS, (), in_blocks(jobs)))
    working = [worker.work.remote(queue, rank) for rank, worker in enumerate(workers)]
    is_over = False
    while not is_over:
        state, is_over = ray.get(queue.watch.remote(WATCH_SECONDS))
    rate = chunks / (perf_counter() - start)
    assert state.done == len(jobs)
    ray.get(queue.close.remote())
    ray.get(working)
    found = {
        "hand-outs": rate,
        "queue": memory(pid, "VmHWM") - queue_before,
        "driver": memory("self", "VmHWM") - before,
    }
    ray.kill(queue)
    return found


def measure(chunks: int) -> dict[str, float]:
    """Return what one campaign in this process found; a small one before it warms up."""
    with connect(workers=WORKERS):
        workers = [Worker.remote() for _ in range(WORKERS)]
        ray.get([worker.ready.remote() for worker in workers])
        campaign(20, workers)
        found = campaign(chunks, workers)
        empty = Empty.remote()
        ray.get([worker.ask.remote(empty, 20) for worker in workers])
        start = perf_counter()
        ray.get([worker.ask.remote(empty, chunks // WORKERS) for worker in workers])
        return found | {"empty calls": chunks / (perf_counter() - start)}


def main() -> None:
    """Measure, print and keep."""
    found: dict[int, list[dict[str, float]]] = {chunks: [] for chunks in SIZES}
    for _ in range(REPETITIONS):
        for chunks, results in found.items():
            results.append(alone(__file__, chunks))
            print(f"{chunks} chunks: {results[-1]}", flush=True)
    # A campaign of 1,000 chunks is over in two seconds; only its memory counts.
    rates = {"10000 chunks": [result["hand-outs"] for result in found[SIZES[-1]]]}
    refuse_spread(rates)
    shares = [result["hand-outs"] / result["empty calls"] for result in found[SIZES[-1]]]
    grown = {
        name: [large[name] - small[name] for small, large in zip(*found.values(), strict=True)]
        for name in ("queue", "driver")
    }
    rows = [
        Row(
            "queue of 10,000 chunks, 80,000 jobs: hand-outs a second",
            ">= 1210 /s",
            "-",
            median(rates["10000 chunks"]),
            min(rates["10000 chunks"]),
            max(rates["10000 chunks"]),
        ),
        Row(
            "the same",
            "-",
            "empty calls of an actor",
            median(shares),
            min(shares),
            max(shares),
        ),
        *(
            Row(
                f"{name}'s growth, 10,000 chunks",
                "<= 30 MB",
                "1,000 chunks",
                median(values),
                min(values),
                max(values),
            )
            for name, values in grown.items()
        ),
    ]
    save("job_queue", rows, rates, "hand-outs", workers=WORKERS, found=found)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
