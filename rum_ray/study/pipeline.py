"""The pipeline runs the stages of a command; results already in the store are reused."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rum_ray.errors import MissingError
from rum_ray.jobs import SearchJob
from rum_ray.store import PACK_RECORDS
from rum_ray.study.costs import training_count
from rum_ray.study.executor import Executor
from rum_ray.study.progress import Progress, ProgressState
from rum_ray.study.stages import Stage, wanted_stages
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock, StageTime

Size = Callable[[], tuple[int, int]]
"""Returns the number of jobs of a part, and of those that were not in the store at its start."""


@dataclass(eq=False)
class Pipeline:
    """Runs the stages of a study.

    Attributes:
        study: the experiment and its data.
        executor: runs the jobs.
        progress: receives the progress of each stage.
        clock: records the wall time of each stage.
    """

    study: Study
    executor: Executor
    progress: Progress
    clock: Clock

    def run(self, command: str) -> None:
        """Run the stages of a command, in order."""
        self.executor.configure(self.study.experiment)
        for stage in wanted_stages(self.study, command).values():
            for sentence in stage.prepare(self.study):
                self.progress.say(sentence)
            for name, jobs in stage.parts(self.study).items():
                self._run(name, stage, jobs)

    def _run(self, name: str, stage: Stage, jobs: Sequence[Any]) -> None:
        """Run one part of a stage."""
        if stage.kind == "search":
            self._search(name, jobs)
        elif stage.kind == "stream":
            self._stream(name, jobs)
        else:
            self._jobs(name, stage, jobs)

    def _stream(self, name: str, jobs: Sequence[Any]) -> None:
        """Stream embeddings for the jobs whose results are missing."""
        context = self.study.context
        everything = context.distinct(jobs)
        missing = context.missing(everything)
        with self._stage(name, lambda: (len(everything), len(missing))) as times:
            if missing:
                self.executor.stream(missing, context)
            times.made += len(missing)

    def _search(self, name: str, searches: Sequence[SearchJob]) -> None:
        """Run the searches whose results are not in the store.

        Progress counts units; before the first one, and if there is none, it counts searches.
        """
        context = self.study.context
        everything = context.distinct(searches)
        missing = context.missing(everything)
        total, reused = len(everything), len(everything) - len(missing)

        def size() -> tuple[int, int]:
            return total, total - reused

        with self._stage(name, size) as times:
            made = times.made

            def on_progress(state: ProgressState) -> ProgressState:
                nonlocal total, reused
                # Units of a run that was killed are found in the store one by one.
                total, reused, times.reused = state.total, state.before, state.before
                times.made = made + state.done - state.before
                self.progress.update(state)
                return state

            if missing:
                self.executor.search(name, searches, context, on_progress)

    def _jobs(self, name: str, stage: Stage, jobs: Sequence[Any]) -> None:
        """Run the jobs whose results are missing, except those that become unnecessary."""
        study, context = self.study, self.study.context
        everything = context.distinct(jobs)
        missing = context.missing(everything)
        before, packed = len(everything) - len(missing), 0
        kinds = {context.key(job).kind for job in missing}

        def size() -> tuple[int, int]:
            needed = {*everything} - {*stage.cancelled(study)}
            return len(needed), len(needed & {*missing})

        def on_progress(state: ProgressState) -> ProgressState:
            nonlocal packed
            if state.done - packed >= PACK_RECORDS:
                packed = state.done
                context.store.pack(kinds)
            done, total = before + state.done, before + state.total
            statistics = stage.statistics(study)
            full = dataclasses.replace(state, done=done, total=total, before=before, **statistics)
            self.progress.update(full)
            return full

        with self._stage(name, size) as times:
            if not missing:
                return
            starting = ProgressState(before, len(everything), before, note="starting workers")
            self.progress.update(starting)
            try:
                self.executor.run(
                    name, missing, context, on_progress, lambda: stage.cancelled(study)
                )
            finally:
                context.store.pack(kinds)
                left = context.missing(missing)
                times.made += len(missing) - len(left)
                times.trainings += sum(map(training_count, {*missing} - {*left}))
        if {*left} - {*stage.cancelled(study)}:
            raise MissingError(f"stage '{name}' ended, but results of it are not in the store.")

    @contextlib.contextmanager
    def _stage(self, name: str, size: Size) -> Iterator[StageTime]:
        """Report the progress of a part and time it."""
        total, missing = size()
        self.progress.start(name, total)
        with self.clock.stage(name) as times:
            times.reused = total - missing
            self.progress.update(ProgressState(total - missing, total, total - missing))
            yield times
        total, missing = size()
        reused = f", {total - missing} reused" if total > missing else ""
        self.progress.finish(f"{total} done{reused}")
