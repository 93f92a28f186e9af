"""Worker processes of the standard library that run tasks of one context.

Each process is spawned with the context once and then takes one task after another. A process that
dies costs the task in its hands, which is requeued; every other process goes on.
"""

import contextlib
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from rum_ray.errors import RumRayError, StalledError
from rum_ray.jobs import Context

Task: TypeAlias = Callable[[Context], Any]
"""Work on the context's data; it is pickled, so it is a partial of a module's function."""

MAX_DEATHS = 3
"""A task that has cost so many processes is given up."""
# glibc keeps large blocks instead of returning them to the system at each step, which saves a third
# of the time of float32 training on CPUs.
WORKER_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "40000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass(eq=False)
class _Worker:
    """A process, the parent's end of its pipe, and the number of the task in its hands."""

    process: BaseProcess
    pipe: Connection
    task: int | None = None


class WorkerPool:
    """A number of processes that share a context; close it to end them."""

    def __init__(self, context: Context, workers: int) -> None:
        """Remember the context; processes start with the first tasks."""
        self.context, self._most = context, workers
        self._workers: list[_Worker] = []

    def map(
        self, tasks: Sequence[Task], wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[tuple[int, Any]]:
        """Run the tasks and yield the number of each with its result, as they finish.

        Args:
            tasks: to run, first ones first.
            wanted: asked before a task starts; False skips it.

        Raises:
            RumRayError: a task raised it.
            StalledError: a task raised another error, or killed its process too often.
        """
        waiting, deaths = deque(range(len(tasks))), Counter[int]()
        self._start(min(self._most, len(tasks)))
        try:
            while self._hand_out(tasks, waiting, wanted):
                for worker in self._answering():
                    number, worker.task = worker.task, None
                    assert number is not None
                    try:
                        result = worker.pipe.recv()
                    except (EOFError, ConnectionError):
                        self._replace(worker, number, deaths)
                        waiting.appendleft(number)
                        continue
                    if isinstance(result, Exception):
                        raise result
                    yield number, result
        except BaseException:
            # Answers to unfinished tasks must not be taken for those of the next ones.
            self.close()
            raise

    def close(self) -> None:
        """End the processes; a task in hand is lost."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _start(self, count: int) -> None:
        """Start processes until there are this many."""
        spawn = multiprocessing.get_context("spawn")
        before = {name: os.environ.get(name) for name in WORKER_SETTINGS}
        os.environ.update({name: before[name] or WORKER_SETTINGS[name] for name in before})
        try:
            while len(self._workers) < count:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                ours.send(self.context)
                self._workers.append(_Worker(process, ours))
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]

    def _hand_out(
        self, tasks: Sequence[Task], waiting: "deque[int]", wanted: Callable[[int], bool]
    ) -> bool:
        """Give every idle process the next wanted task; return True if any process is busy."""
        for worker in self._workers:
            while worker.task is None and waiting:
                number = waiting.popleft()
                if wanted(number):
                    worker.task = number
                    # A process that is gone is noticed when its answer is read.
                    with contextlib.suppress(ConnectionError):
                        worker.pipe.send(tasks[number])
        return any(worker.task is not None for worker in self._workers)

    def _answering(self) -> list[_Worker]:
        """Wait for answers and return their processes; the answer of a dead one is its end."""
        busy = [worker for worker in self._workers if worker.task is not None]
        ready = wait([worker.pipe for worker in busy])
        return [worker for worker in busy if worker.pipe in ready]

    def _replace(self, worker: _Worker, number: int, deaths: "Counter[int]") -> None:
        """Replace a dead process, unless the task in its hands has killed too many."""
        worker.process.join()
        self._workers.remove(worker)
        deaths[number] += 1
        if deaths[number] == MAX_DEATHS:
            raise StalledError(
                f"a worker process died {MAX_DEATHS} times in the same task (exit code "
                f"{worker.process.exitcode}). If memory is short, lower cluster.workers or "
                "recipe.batch_size."
            )
        self._start(len(self._workers) + 1)


def _serve(pipe: Connection) -> None:
    """Run tasks until the parent closes the pipe or ends."""
    # Ctrl-C reaches the whole process group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, ConnectionError):
        context: Context = pipe.recv()
        while True:
            task: Task = pipe.recv()
            pipe.send(_result(task, context))


def _result(task: Task, context: Context) -> Any:
    """Return the result of a task, or the error to raise in the parent."""
    try:
        return task(context)
    except RumRayError as error:
        return error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return StalledError(f"a task failed in a worker process: {reason}.")
