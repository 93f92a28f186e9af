"""One pool of workers per command: a queue, and the shards that take jobs from it."""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rum_ray.cluster.queue_actor import QueueActor
from rum_ray.cluster.shards import Shards
from rum_ray.cluster.shared_data import release, share
from rum_ray.cluster.train_run import slice_resources
from rum_ray.cluster.work import JobWork, Place, in_blocks
from rum_ray.errors import RumRayError, StalledError, StoreError
from rum_ray.experiment import ClusterConfig
from rum_ray.files import temporary_in
from rum_ray.jobs import Context, Job, is_fused
from rum_ray.study.executor import Cancelled
from rum_ray.study.progress import ProgressState
from rum_ray.training.recipe import Recipe

OnProgress: TypeAlias = Callable[[ProgressState], object]
"""Receives the progress of the jobs, about once per second."""

WATCH_SECONDS = 1.0
WAIT_SECONDS = 0.1
CLOSE_SECONDS = 5.0
CALLS = 100_000
"""Most calls of the queue at a time; each worker waits in one."""


def start_queue(title: str = "rum_ray") -> Any:
    """Start the actor of the queue on the driver's node, where it lives as long as the driver."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(QueueActor).options(
        num_cpus=0,
        max_concurrency=CALLS,
        scheduling_strategy=here,
        name=f"{title}-queue-{uuid.uuid4().hex[:6]}",
    )
    return actor.remote()


class Pool:
    """Workers that stay for all stages of a command.

    Args:
        title: name of the experiment.
        config: workers and resources of each.
        local: True for a cluster of this command on this machine.
        say: receives lines about workers that cannot do the jobs.
        command: a short id of the command, for metrics.
    """

    def __init__(
        self,
        title: str,
        config: ClusterConfig,
        local: bool,
        say: Callable[[str], None] = lambda line: None,
        command: str = "",
    ) -> None:
        self.title, self.config, self._say = title, config, say
        self._told: set[str] = set()
        self._rejections: list[RumRayError] = []
        self._note = ""
        self.queue = start_queue(title)
        self._shards = Shards(self.queue, title, config, local, command)
        self._context: tuple[Context, Any] | None = None
        self._marker: tuple[Path, IO[bytes]] | None = None

    @property
    def beside(self) -> dict[str, float]:
        """Resources of an actor that runs beside a waiting worker."""
        return slice_resources(self.config)

    def run(
        self,
        name: str,
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress,
        cancelled: Cancelled = tuple,
    ) -> None:
        """Run the jobs of a stage.

        Args:
            name: name of the stage, for messages.
            jobs: at least one; results that are in the store are not computed again.
            context: the data and the store; every worker must reach the store.
            on_progress: receives the progress of the jobs.
            cancelled: returns the jobs that have become unnecessary.

        Raises:
            RumRayError: the first permanent error of a job, once the other jobs are done.
            StalledError: workers kept dying, or there is no room for one.
        """
        kinds = [type(job).__name__ for job in jobs]
        fused = [index for index, job in enumerate(jobs) if is_fused(job)]
        work = JobWork(name, self.place(context, jobs[0].recipe), in_blocks(jobs))
        known = 0
        with self.stage(name, kinds, fused, work, min(self.config.workers, len(jobs))):
            is_over = False
            while not is_over:
                unnecessary = cancelled()
                if len(unnecessary) > known:
                    known = len(unnecessary)
                    self._get(self.queue.cancel.remote(_numbers(jobs, unnecessary)))
                is_over = self.watch(on_progress)
            for error in self.errors():
                raise error

    @contextlib.contextmanager
    def stage(
        self, name: str, kinds: Sequence[str], fused: Sequence[int], work: Any, workers: int
    ) -> Iterator[None]:
        """Open a stage of the queue for the length of a `with` block; drop its jobs in the end."""
        try:
            self._get(self.queue.open.remote(kinds, self.config.workers, fused, [ray.put(work)]))
            self._shards.want(workers)
            yield
        except StalledError as error:
            raise StalledError(f"stage '{name}': {error}") from error
        finally:
            self.queue.open.remote([], 1)

    def hand_in(self, payloads: Sequence[Any]) -> list[int]:
        """Add units of searches to the stage; return their numbers in the queue."""
        numbers: list[int] = self._get(self.queue.hand_in.remote("EvaluatePlan", payloads))
        return numbers

    def first_settled(self, numbers: Sequence[int]) -> int:
        """Return the position of the first unit that has a result or an error; 0 if none has."""
        position: int = self._get(self.queue.first_settled.remote(numbers))
        return position

    def watch(self, on_progress: OnProgress) -> bool:
        """Wait a moment, report the progress, and return True if the stage is over."""
        state, is_over = self._get(self.queue.watch.remote(WATCH_SECONDS))
        if not state.workers and not state.seconds:
            # The wait for machines and workers has gauges and lines, too.
            state = replace(state, note="starting workers")
        on_progress(state)
        if not is_over:
            self._check(state)
        return bool(is_over)

    def wait_for_workers(self) -> None:
        """Wait for the first worker, so that nothing else takes the CPUs of the workers.

        Raises:
            RumRayError: there is no worker, and none is to be expected.
        """
        while not self.look().workers:
            time.sleep(WAIT_SECONDS)

    def look(self) -> ProgressState:
        """Look after the shards; return the progress of the queue.

        Raises:
            RumRayError: there is no worker, and none is to be expected.
        """
        state: ProgressState = self._get(self.queue.watch.remote(0.0))[0]
        self._check(state)
        return state

    def errors(self) -> list[RumRayError]:
        """Return the permanent errors of the stage."""
        found: list[RumRayError] = self._get(self.queue.errors.remote())
        return found

    def _check(self, state: ProgressState) -> None:
        """Replace shards that ended, tell the reasons of workers that left, or raise the first."""
        note = self._shards.check(state.workers or 0)
        if state.rejected > len(self._rejections):
            self._rejections = self._get(self.queue.rejections.remote())
            for text in {str(error) for error in self._rejections} - self._told:
                self._told.add(text)
                self._say(text)
        if note and self._rejections and not self._shards.active:
            raise self._rejections[0]
        if note and note != self._note:
            self._say(note)
        self._note = note

    def place(self, context: Context, recipe: Recipe) -> Place:
        """Return what workers load and check before their first job."""
        if self._context is None or self._context[0] is not context:
            self._clear()
            folder = context.store.folder
            try:
                self._marker = None if folder is None else _mark(folder)
                handle = share(context, None if folder is None else folder / "data")
            except OSError as error:
                raise StoreError(f"cannot write to the store {folder}: {error}.") from error
            self._context = context, handle
        marker = None if self._marker is None else str(self._marker[0])
        return Place(self._context[1], recipe, marker)

    def close(self) -> None:
        """Let the workers leave, as far as they have nothing in hand."""
        self._clear()
        try:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(self.queue.close.remote())
        finally:
            with contextlib.suppress(ray.exceptions.RayError):
                self._shards.close(CLOSE_SECONDS)

    def _clear(self) -> None:
        """Remove the marker and the data from the store."""
        if self._marker is not None:
            path, file = self._marker
            with file:
                path.unlink(missing_ok=True)
        if self._context is not None:
            release(self._context[1])
        self._marker = self._context = None

    @staticmethod
    def _get(reference: Any) -> Any:
        """Return what the queue answers."""
        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise StalledError(f"the queue of jobs is lost: {reason}.") from error


def _numbers(jobs: Sequence[Job], some: Sequence[Job]) -> list[int]:
    """Return the numbers of some of the jobs."""
    wanted = {*some}
    return [index for index, job in enumerate(jobs) if job in wanted] if wanted else []


def _mark(folder: Path) -> tuple[Path, IO[bytes]]:
    """Return a new file, held by this process, by which workers see that they use the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path, file = temporary_in(folder, "command")
    file.write(str(os.getpid()).encode())
    file.flush()
    return path, file
