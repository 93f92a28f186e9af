"""The whole experiment, stage by stage: what is missing is made, what is there is read.

train (originals and the leave-k-out pool) -> score -> refine -> embed -> retrain -> search ->
rows -> report. Stages with nothing left to do do not start Ray.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rum_ray.cluster import embed, jobs, tune
from rum_ray.cluster.connect import connect
from rum_ray.errors import ConfigError, IntegrityError, StoreError
from rum_ray.rum import Plan
from rum_ray.search.spaces import Space, whole
from rum_ray.study.progress import Progress
from rum_ray.study.results import Row
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.unlearning import Nothing, Unlearner
from rum_ray.work import Evaluate, Job, TrainModel, TrainPoolModel
from rum_ray.work.score import ScoreByProxy


@dataclass(frozen=True)
class Where:
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
    where: Where
    progress: Progress
    clock: Clock
    _exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _connected: bool = False

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def train(self) -> None:
        """Train the originals of all seeds, and the models that score."""
        self._jobs("train", self.first_jobs())

    def embed(self) -> None:
        """Stream the originals' embeddings of the forget set's subsets."""
        study = self.study
        missing = [
            model
            for model in study.originals
            if not study.context.store.has(embed.moments_key(study.context, model, study.partition))
        ]
        with self._stage("embed", len(study.originals), len(missing)) as stage:
            if missing:
                self._connect()
                embed.stream_moments(
                    study.context, missing, study.partition, study.experiment.cluster.workers
                )
                stage.made += len(missing)

    def retrain(self) -> None:
        """Retrain without the forget set: references, noise floor, and the search's references."""
        self._jobs("retrain", self.retrain_jobs())

    def search(self) -> None:
        """Search every space with the same budget, then try the finalists on fresh seeds."""
        study = self.study
        if study.experiment.search is None:
            return
        for space in study.spaces:
            self._search(space)
        self._jobs("validate", self.validations())

    def rows(self) -> None:
        """Measure every method on the reported seeds and on test."""
        self._jobs("rows", self.row_jobs())

    def unlearn(self) -> None:
        """Run the file's plan on every seed's original."""
        self._jobs("unlearn", self.planned().jobs)

    def evaluate(self) -> None:
        """Measure the file's plan beside the original and the retrained models."""
        self._jobs("evaluate", [job for row in self.measured() for job in row.jobs])

    def check(self) -> None:
        """Raise StoreError unless everything that the report needs is there."""
        study = self.study
        stages: list[tuple[str, Callable[[], Sequence[Job]]]] = [
            ("train", self.first_jobs),
            ("retrain", self.retrain_jobs),
            ("search", self.validations),
            ("rows", self.row_jobs),
        ]
        for name, stage in stages:
            if name == "search" and study.experiment.search is None:
                continue
            missing = [job for job in stage() if not study.context.has(job)]
            if missing:
                raise StoreError(
                    f"stage '{name}' is not finished: {len(missing)} results are missing in the "
                    f"store {study.context.store.root}. Use 'rum-ray run' first."
                )

    def first_jobs(self) -> list[Job]:
        """Return what is trained before the forget set is known."""
        study = self.study
        return [*study.originals, *study.search_originals, *study.scorers]

    def retrain_jobs(self) -> list[Job]:
        """Return what is trained without the forget set."""
        study = self.study
        return [*study.retrained, *study.retrained_again, *study.references]

    def row_jobs(self) -> list[Job]:
        """Return what is measured for the report."""
        return [job for row in self.table() for job in row.jobs]

    def trials(self, space: Space) -> list[dict[str, Any]]:
        """Return a finished search's trials."""
        context = self.study.context
        key = self._searched(space).key(context)
        trials: list[dict[str, Any]] = context.store.load(key).value
        return trials

    def is_searched(self, space: Space) -> bool:
        """Return whether a search is finished."""
        return self.study.context.store.has(self._searched(space).key(self.study.context))

    def pick(self, space: Space) -> Plan:
        """Return the plan that a finished search names."""
        return self.study.winner(self.study.finalists(space, self.trials(space)))

    def table(self) -> list[Row]:
        """Return the report's rows; searches must be finished."""
        study = self.study
        rows = self._models()
        for unlearner in study.experiment.compare:
            rows += self._compared(unlearner)
        if study.experiment.search is not None:
            single, _, rum = study.spaces
            rows.append(self._searched_row("best_single", single))
            rows.append(self._searched_row("rum", rum))
        if study.experiment.plan is not None:
            rows.append(self.planned())
        return rows

    def measured(self) -> list[Row]:
        """Return the rows that need no search: the models as they are, and the file's plan."""
        return [*self._models(), self.planned()]

    def planned(self) -> Row:
        """Return the row of the file's plan.

        Raises:
            ConfigError: the file has none.
        """
        study = self.study
        if study.experiment.plan is None:
            raise ConfigError(
                "the experiment has no key 'plan', so there is nothing to unlearn with. "
                "Give each subset an unlearner, or let 'rum-ray tune' find them."
            )
        plan = Plan.assign(study.partition, study.experiment.plan, study.experiment.retain)
        return Row("rum", study.evaluations(plan, keep=True), source="file", plan=plan)

    def _models(self) -> list[Row]:
        """Return the rows of models as they are: references, noise floor and originals."""
        study = self.study
        return [
            Row("retrained", study.measured(study.retrained)),
            Row("retrained_again", study.measured(study.retrained_again)),
            Row("original", study.measured(study.originals)),
        ]

    def _searched_row(self, method: str, space: Space) -> Row:
        """Return the row of a search's pick."""
        plan = self.pick(space)
        name = plan.steps[0].unlearner.name if method == "best_single" else None
        return Row(
            method,
            self.study.evaluations(plan, keep=method == "rum"),
            unlearner=name,
            source="search",
            trials=len(self.trials(space)),
            plan=plan,
        )

    def _compared(self, unlearner: Unlearner) -> list[Row]:
        """Return an unlearner's rows: vanilla, shuffle and RUM^F.

        Each takes the values of its best trial: vanilla of the search on the whole forget set, the
        other two of the search on refined subsets. Without one, the file's values count.
        """
        study = self.study
        single, refined = unlearner, unlearner
        tried = (0, 0)
        if study.experiment.search is not None:
            (single, first), (refined, second) = (
                self._best(unlearner, space) for space in study.spaces[:2]
            )
            tried = (first, second)
        parts = (
            ("vanilla", single, whole(study.partition), tried[0]),
            ("shuffle", refined, study.shuffled, tried[1]),
            ("rum_f", refined, study.partition, tried[1]),
        )
        rows = []
        for method, tuned, partition, trials in parts:
            plan = study.same(tuned, partition)
            source = "search" if trials else "file"
            jobs = study.evaluations(plan)
            rows.append(Row(method, jobs, unlearner.name, source, trials or None, plan))
        return rows

    def _best(self, unlearner: Unlearner, space: Space) -> tuple[Unlearner, int]:
        """Return an unlearner's best values in a search, and from how many trials."""
        complete = [t for t in self.trials(space) if t["status"] == "complete"]
        plans = [(self.study.plan(space, t), t["objective"]) for t in complete]
        tried = [(p.steps[0].unlearner, j) for p, j in plans]
        own = [(u, j) for u, j in tried if type(u) is type(unlearner)]
        if not own:
            return unlearner, 0
        return max(own, key=lambda pair: pair[1])[0], len(own)

    def validations(self) -> list[Job]:
        """Return the jobs that try each search's finalists on fresh seeds."""
        study = self.study
        return [
            study.trial(plan, fresh=True)
            for space in study.spaces
            for plan in study.finalists(space, self.trials(space))
        ]

    def _searched(self, space: Space) -> "tune.Search":
        study = self.study
        config = study.experiment.search
        assert config is not None
        trial = study.trial(study.same(Nothing(), whole(study.partition)))
        return tune.Search(space, config, trial.originals, trial.references)

    def _search(self, space: Space) -> None:
        """Run one search."""
        study, search = self.study, self._searched(space)
        total = search.config.trials
        missing = 0 if self.is_searched(space) else total
        with self._stage(f"search {space.name}", total, missing) as stage:
            if missing:
                self._connect()

                def tell(done: int, total: int, best: float) -> None:
                    self.progress.update(done, total, f"best {best:.3f}")

                tune.run(search, study.context, study.experiment.cluster.workers, tell)
                stage.made += total

    def _jobs(self, name: str, stage_jobs: Sequence[Job]) -> None:
        """Do the jobs of a stage that are missing."""
        unique = {job.key(self.study.context).digest: job for job in stage_jobs}
        everything = list(unique.values())
        missing = [job for job in everything if not self.study.context.has(job)]
        with self._stage(name, len(everything), len(missing)) as stage:
            if missing:
                self._connect()
                try:
                    jobs.run(
                        name,
                        everything,
                        self.study.context,
                        self.study.experiment.cluster,
                        self.progress.update,
                    )
                finally:
                    made = [job for job in missing if self.study.context.has(job)]
                    stage.made += len(made)
                    stage.trainings += sum(map(trainings, made))
        if not all(map(self.study.context.has, everything)):
            raise IntegrityError(f"stage '{name}' ended with jobs that are not in the store.")

    @contextlib.contextmanager
    def _stage(self, name: str, total: int, missing: int) -> "Iterator[Any]":
        """Tell of a stage and time it."""
        self.progress.start(name, total)
        with self.clock.stage(name) as stage:
            stage.reused = total - missing
            self.progress.update(total - missing, total)
            yield stage
        self.progress.finish(f"{total} done, {total - missing} of them before")

    def _connect(self) -> None:
        """Join the cluster, once."""
        if self._connected:
            return
        cluster = self.study.experiment.cluster
        url = self._exits.enter_context(
            connect(self.where.address, cluster.workers, self.where.dashboard, cluster.modules)
        )
        self._connected = True
        if url is not None:
            self.where.announce(url)


def trainings(job: Job) -> int:
    """Return how many models a job trains from scratch."""
    if isinstance(job, TrainModel | TrainPoolModel | ScoreByProxy):
        return 1
    return int(isinstance(job, Evaluate) and job.model.forget is not None and job.split == "valid")
