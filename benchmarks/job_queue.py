"""The queue of jobs at scale: hand-outs a second, and memory of its actor and of the driver.

Two workers run the loop of a Train worker on jobs that do nothing, so what is left is the queue. A
hand-out is a chunk of eight jobs: one request, their lookup, and the note that they are done.
"""

import os
from pathlib import Path
from statistics import median
from typing import Any

import ray
from _harness import Row, Side, interleave, save

from rum_ray.cluster.connect import connect
from rum_ray.cluster.jobs import in_blocks, start_queue
from rum_ray.cluster.queue import MAX_CHUNK
from rum_ray.cluster.worker import empty, reader
from rum_ray.seeding import Seed
from rum_ray.training.recipe import Recipe
from rum_ray.work import TrainPoolModel

WORKERS, REPETITIONS = 2, 3
SIZES = (1_000, 10_000)


def megabytes(pid: int) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@ray.remote(num_cpus=1)
class Worker:
    """Takes all jobs and does nothing with them."""

    def ready(self) -> None:
        """Exist."""

    def work(self, queue: Any, blocks: list[Any], me: str) -> None:
        """Run the loop of a Train worker."""
        ray.get(queue.join.remote(me, "group", "CPU"))
        job = reader(blocks)

        def attempt(index: int) -> None:
            assert job(index) is not None

        empty(queue, me, attempt)


def side(chunks: int, workers: list[Any], memory: dict[str, list[float]]) -> Side:
    """Return the side that hands out so many chunks, and notes memory in MB."""
    recipe, pool = Recipe("mlp"), Seed(0) / "pool"

    def run() -> float:
        jobs = [TrainPoolModel(recipe, pool / m, 0.7) for m in range(chunks * MAX_CHUNK)]
        queue = start_queue(jobs, WORKERS)
        pid = ray.get(queue.__ray_call__.remote(lambda self: os.getpid()))
        before = megabytes(pid)
        blocks = in_blocks(jobs)
        ray.get([w.work.remote(queue, blocks, f"{n}") for n, w in enumerate(workers)])
        assert ray.get(queue.standing.remote())[0].done == len(jobs)
        memory["queue"].append(megabytes(pid))
        memory["queue, growth"].append(megabytes(pid) - before)
        memory["driver"].append(megabytes(os.getpid()))
        ray.kill(queue)
        return chunks

    return run


def main() -> None:
    """Measure, print and keep."""
    memory = {n: {"queue": [], "queue, growth": [], "driver": []} for n in SIZES}
    with connect(workers=WORKERS):
        workers = [Worker.remote() for _ in range(WORKERS)]
        ray.get([worker.ready.remote() for worker in workers])
        sides = {f"{n} chunks": side(n, workers, memory[n]) for n in SIZES}
        rates = interleave(sides, REPETITIONS, "hand-outs")
    for chunks, found in memory.items():
        for process, values in found.items():
            print(f"{chunks} chunks, {process}: {' '.join(f'{v:.1f}' for v in values)} MB")
    small, large = (memory[n] for n in SIZES)
    grown = {name: median(large[name]) - median(small[name]) for name in ("queue", "driver")}
    rows = [
        Row(
            "queue of 10,000 chunks, 80,000 jobs: hand-outs a second",
            ">= 500 /s",
            "-",
            median(rates["10000 chunks"]),
        ),
        *(
            Row(f"{name}'s memory, 10,000 chunks", "<= 30 MB", "1,000 chunks", grown[name])
            for name in grown
        ),
    ]
    save("job_queue", rows, rates, "hand-outs", workers=WORKERS, megabytes=memory)


if __name__ == "__main__":
    main()
