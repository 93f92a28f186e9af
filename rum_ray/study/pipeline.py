"""The whole experiment, stage by stage: what is missing is made, what is there is read.

train (originals and the leave-k-out pool) -> score -> distances, where they decide -> refine ->
embed -> retrain -> search -> rows -> residuals -> shadows -> report. Ray is imported and started by
the first stage that has something to do.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rum_ray.errors import IntegrityError
from rum_ray.jobs import Job, SearchJob
from rum_ray.jobs.job import Streamed
from rum_ray.jobs.pretrained import keep_weights
from rum_ray.search.objective import INFEASIBLE
from rum_ray.study.costs import trainings
from rum_ray.study.methods import (
    Row,
    measuring_jobs,
    planned,
    residual_jobs,
    shadow_jobs,
    table,
    unsearched_table,
)
from rum_ray.study.progress import Progress, ProgressState
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock, StageTime
from rum_ray.study.validation import check_floor

if TYPE_CHECKING:
    from rum_ray.cluster.executor import RayExecutor


@dataclass(frozen=True)
class ClusterAddress:
    """How to reach a cluster.

    Attributes:
        address: "local", "auto" or HOST:PORT.
        dashboard: whether a local cluster has a dashboard.
        announce: is told the dashboard's address.
    """

    address: str = "local"
    dashboard: bool = False
    announce: Callable[[str], None] = field(default=lambda url: None, compare=False)


@dataclass(eq=False)
class Pipeline:
    """Runs the stages of a study, joining the cluster when the first one needs it.

    Attributes:
        study: what is run.
        where: the cluster.
        progress: is told of each stage.
        clock: keeps the stages' times.
    """

    study: Study
    where: ClusterAddress
    progress: Progress
    clock: Clock
    _exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def train(self) -> None:
        """Train the originals of all seeds, and the models that score.

        Then stream distances in embedding space, if the forget set or its subsets need them.
        """
        weights = self.study.experiment.recipe.weights
        if weights is not None:
            keep_weights(weights, self.study.pretrained, self.study.context)
        scoring = self.study.scoring
        self._jobs(
            "train",
            self.study.first_jobs,
            lambda: scoring.cancelled,
            lambda: scoring.precision_so_far,
        )
        distances = self.study.distance_jobs
        if distances:
            self._stream("distances", [job.centroid for job in distances], distances)

    def embed(self) -> None:
        """Stream the originals' embeddings of the forget set's subsets."""
        self._stream("embed", self.study.moments)

    def retrain(self) -> None:
        """Retrain without the forget set: references, noise floor, and the search's references."""
        self._jobs("retrain", self.study.retrain_jobs)

    def refer(self) -> None:
        """Make what the searches judge plans against, and no other retrained model."""
        self._jobs("references", self.study.judged)

    def search(self) -> None:
        """Search every space with the same budget, then try the finalists on fresh seeds."""
        if self.study.experiment.search is None:
            return
        check_floor(self.study)
        for name, search in self.study.searches.items():
            self._search(name, search)
        self._jobs("validate", self.study.validations)

    def rows(self) -> None:
        """Measure every method on the reported seeds and on test."""
        rows = table(self.study)
        self._jobs("rows", measuring_jobs(self.study, rows))
        self._residuals(rows)

    def shadows(self) -> None:
        """Run the reported plans on the models of the pool, if U-LiRA asks for it."""
        self._shadows(table(self.study))

    def unlearn(self) -> None:
        """Run the file's plan on every seed's original."""
        self._jobs("unlearn", planned(self.study).jobs)

    def evaluate(self) -> None:
        """Measure the file's plan beside the original and the retrained models."""
        rows = unsearched_table(self.study)
        self._jobs("evaluate", measuring_jobs(self.study, rows))
        self._residuals(rows)
        self._shadows(rows)

    def _residuals(self, rows: Sequence[Row]) -> None:
        """Stream the embeddings of the models that are measured, if residuals are asked for."""
        jobs = residual_jobs(self.study, rows)
        if jobs:
            self._stream("residuals", jobs)

    def _shadows(self, rows: Sequence[Row]) -> None:
        """Run these rows' plans on the models of the pool."""
        jobs = shadow_jobs(self.study, rows)
        if jobs:
            self._jobs("shadows", jobs)

    def _stream(self, name: str, *passes: Sequence[Streamed]) -> None:
        """Stream embeddings for the jobs that are missing, pass by pass."""
        context = self.study.context
        missing = context.missing(passes[-1])
        size = len(passes[-1]), len(missing)
        with self._stage(name, lambda: size) as stage:
            if not missing:
                return
            for left in map(context.missing, passes):
                if left:
                    self._cluster.stream(left)
            stage.made += len(missing)

    def _search(self, name: str, search: SearchJob) -> None:
        """Run one search."""
        context, total = self.study.context, search.config.trials
        missing = 0 if context.store.has(search.key(context)) else total
        with self._stage(f"search {name}", lambda: (total, missing)) as stage:
            if missing:
                cluster, began, made = self._cluster, time.monotonic(), stage.made

                def tell(done: int, before: int, best: float) -> ProgressState:
                    nonlocal missing
                    # What a killed start had judged turns out to be there, trial by trial.
                    missing, stage.made, stage.reused = total - before, made + done - before, before
                    seconds = time.monotonic() - began
                    note = f"best {best:.3f}" if best > INFEASIBLE else "none judged yet"
                    found = ProgressState(done, total, before, seconds, best=best, note=note)
                    self.progress.update(found)
                    return found

                cluster.search(f"search {name}", search, tell)

    def _jobs(
        self,
        name: str,
        stage_jobs: Sequence[Job],
        spare: Callable[[], Sequence[Job]] = tuple,
        so_far: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Do the jobs of a stage that are missing; `spare` says which turn out not to be needed."""
        context = self.study.context
        everything = context.distinct(stage_jobs)
        missing = context.missing(everything)
        there = len(everything) - len(missing)

        def size() -> tuple[int, int]:
            needed = {*everything} - {*spare()}
            return len(needed), len(needed & {*missing})

        def tell(of: ProgressState) -> ProgressState:
            done, total = there + of.done, there + of.total
            full = dataclasses.replace(of, done=done, total=total, before=there, **so_far())
            self.progress.update(full)
            return full

        with self._stage(name, size) as stage:
            if not missing:
                return
            self.progress.update(
                ProgressState(there, len(everything), there, note="starting workers")
            )
            cluster = self._cluster
            try:
                cluster.run(name, missing, tell, spare)
            finally:
                left = context.missing(missing)
                stage.made += len(missing) - len(left)
                stage.trainings += sum(map(trainings, {*missing} - {*left}))
        if {*left} - {*spare()}:
            raise IntegrityError(f"stage '{name}' ended with jobs that are not in the store.")

    @contextlib.contextmanager
    def _stage(self, name: str, size: Callable[[], tuple[int, int]]) -> Iterator[StageTime]:
        """Tell of a stage and time it; `size` says how many jobs it has, and how many it lacked."""
        total, missing = size()
        self.progress.start(name, total)
        with self.clock.stage(name) as stage:
            stage.reused = total - missing
            self.progress.update(ProgressState(total - missing, total, total - missing))
            yield stage
        total, missing = size()
        before = f", {total - missing} of them before" if total > missing else ""
        self.progress.finish(f"{total} done{before}")

    @cached_property
    def _cluster(self) -> "RayExecutor":
        """The cluster, joined by the first stage that needs it."""
        # Ray and Optuna take seconds to import, and a command with nothing to make needs neither.
        from rum_ray.cluster.connect import connect
        from rum_ray.cluster.executor import RayExecutor

        config, where = self.study.experiment.cluster, self.where
        url = self._exits.enter_context(
            connect(where.address, config.workers, where.dashboard, config.modules)
        )
        if url is not None:
            where.announce(url)
        return RayExecutor(self.study.context, config)
