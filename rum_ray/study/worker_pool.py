"""Worker processes of the standard library that run tasks on one context.

Each process receives the context once and then runs one task after another. If a process dies, its
task is requeued and another process replaces it; the others continue.
"""

import contextlib
import multiprocessing
import os
import pickle
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
"""Computes a result from the context. Tasks are pickled: use a partial of a module's function."""

MAX_DEATHS = 3
"""A task fails once this many processes have died in it."""
# glibc keeps large blocks instead of returning them to the system at each step. That saves a third
# of the time of float32 training on CPUs.
WORKER_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "40000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass(eq=False)
class _Worker:
    """A process, the parent's end of its pipe, and the number of its current task."""

    process: BaseProcess
    pipe: Connection
    task: int | None = None


class WorkerPool:
    """Up to `workers` processes with copies of one context; `close` ends them."""

    def __init__(self, context: Context, workers: int) -> None:
        """Create a pool without processes; they start with the first tasks."""
        self.context, self._most = context, workers
        self._workers: list[_Worker] = []

    def map(
        self, tasks: Sequence[Task], wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[tuple[int, Any]]:
        """Run the tasks and yield the number of each with its result, as they finish.

        Args:
            tasks: the tasks, started in this order.
            wanted: called with the number of a task before it starts; False skips the task.

        Raises:
            RumRayError: a task raised it.
            StalledError: a task raised another error, or too many processes died in it.
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
                    except (EOFError, OSError):
                        # The process died, perhaps while it sent its result.
                        self._replace(worker, number, deaths)
                        waiting.appendleft(number)
                        continue
                    if isinstance(result, Exception):
                        raise result
                    yield number, result
        except BaseException:
            # Results of unfinished tasks must not be read as results of later ones.
            self.close()
            raise

    def close(self) -> None:
        """End the processes; unfinished tasks are lost."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _start(self, count: int) -> None:
        """Start processes until there are this many."""
        spawn = multiprocessing.get_context("spawn")
        added = {name: v for name, v in WORKER_SETTINGS.items() if name not in os.environ}
        os.environ.update(added)
        started: list[_Worker] = []
        try:
            while len(self._workers) < count:
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                started.append(_Worker(process, ours))
                self._workers.append(started[-1])
        finally:
            for name in added:
                del os.environ[name]
        # To send blocks until the process has imported PyTorch, so all of them start before. Plain
        # pickling keeps tensors out of shared memory, which may be small.
        context = pickle.dumps(self.context) if started else b""
        for worker in started:
            _send(worker.pipe, context)

    def _hand_out(
        self, tasks: Sequence[Task], waiting: "deque[int]", wanted: Callable[[int], bool]
    ) -> bool:
        """Give every idle process the next wanted task; return True if any process is busy."""
        for worker in self._workers:
            while worker.task is None and waiting:
                number = waiting.popleft()
                if wanted(number):
                    worker.task = number
                    _send(worker.pipe, pickle.dumps(tasks[number]))
        return any(worker.task is not None for worker in self._workers)

    def _answering(self) -> list[_Worker]:
        """Wait for results and return the workers that have one, or whose process is dead."""
        busy = [worker for worker in self._workers if worker.task is not None]
        ready = wait([worker.pipe for worker in busy])
        return [worker for worker in busy if worker.pipe in ready]

    def _replace(self, worker: _Worker, number: int, deaths: "Counter[int]") -> None:
        """Replace a dead process, unless too many have died in its task."""
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        deaths[number] += 1
        if deaths[number] == MAX_DEATHS:
            raise StalledError(
                f"a worker process died {MAX_DEATHS} times in the same task (last exit code: "
                f"{worker.process.exitcode}). If memory is short, lower cluster.workers or "
                "recipe.batch_size."
            )
        self._start(len(self._workers) + 1)


def _send(pipe: Connection, packed: bytes) -> None:
    """Send a pickle to a process; a dead process is detected when its result is read."""
    with contextlib.suppress(ConnectionError):
        pipe.send_bytes(packed)


def _serve(pipe: Connection) -> None:
    """Run tasks until the parent closes the pipe or ends."""
    # Ctrl-C reaches the whole process group; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, ConnectionError):
        packed = pipe.recv_bytes()
        context: Context | None = None
        while True:
            task = pipe.recv_bytes()
            try:
                # A module that this process lacks is an error of the task, not the process's death.
                context = context or pickle.loads(packed)
                result = pickle.loads(task)(context)
            except Exception as error:
                result = failure("a task", error)
            pipe.send(result)


def failure(what: str, error: Exception) -> RumRayError:
    """Return the error of failed work as one that other processes can read."""
    if isinstance(error, RumRayError):
        return error
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return StalledError(f"{what} failed in a worker process: {reason}.")
