"""An experiment and its data, as the jobs that it takes and what follows from them.

Nothing here trains: each property says which jobs there are, or reads what finished ones made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.data.ids import read_rows
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment, SearchConfig, to_plain
from rum_ray.plugins import find
from rum_ray.refinement import Shuffle, forget_set
from rum_ray.rum import Partition, Plan
from rum_ray.scores import PROXIES
from rum_ray.scores.base import Scores
from rum_ray.scores.files import read_scores
from rum_ray.scores.learning_events import EVENTS
from rum_ray.scores.memorization import memorization
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.unlearning import UNLEARNERS, Unlearner
from rum_ray.work import Context, Evaluate, Job, TrainModel, TrainPoolModel, TryPlan, pool_bits
from rum_ray.work.score import ScoreByProxy

FRESH_SEEDS = 2
FINALISTS = 3
SPACES = ("V0", "V1", "V4")


@dataclass(frozen=True, eq=False)
class Study:
    """One experiment on its data.

    Attributes:
        experiment: what is studied.
        context: the data and the store.
    """

    experiment: Experiment
    context: Context

    @cached_property
    def originals(self) -> tuple[TrainModel, ...]:
        """The original models, one a reported seed."""
        recipe = self.experiment.recipe
        return tuple(TrainModel(recipe, Seed(s) / "run") for s in self.experiment.seeds)

    @cached_property
    def search_originals(self) -> tuple[TrainModel, ...]:
        """The original models of the search seeds, the fresh ones at the end."""
        search = self.experiment.search
        if search is None:
            return ()
        roots = [Seed(search.seed) / "search" / k for k in range(search.seeds + FRESH_SEEDS)]
        return tuple(TrainModel(self.experiment.recipe, root) for root in roots)

    @cached_property
    def scorers(self) -> tuple[Job, ...]:
        """What scores the examples: the leave-k-out pool, a proxy's job, or nothing for a file."""
        score = self.experiment.score
        if score.file is not None:
            return ()
        recipe = score.recipe or self.experiment.recipe
        if score.name != "memorization":
            proxy = find(score.name, PROXIES, "score")()
            return (ScoreByProxy(proxy, recipe, Seed(score.seed) / "proxy"),)
        pool = Seed(score.seed) / "pool"
        return tuple(TrainPoolModel(recipe, pool / m, score.fraction) for m in range(score.models))

    @cached_property
    def pool(self) -> tuple[TrainPoolModel, ...]:
        """The leave-k-out models; none if the score is another."""
        return tuple(job for job in self.scorers if isinstance(job, TrainPoolModel))

    @cached_property
    def pool_bits(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which examples the pool's models were trained on and are right about, each [M, N]."""
        return pool_bits(self.context, self.pool)

    @cached_property
    def scores(self) -> Scores:
        """How hard D's examples are to forget."""
        file = self.experiment.score.file
        if file is not None:
            return read_scores(file, self.context.bundle.train.ids)
        if self.pool:
            return memorization(*self.pool_bits)
        (job,) = self.scorers
        assert isinstance(job, ScoreByProxy)
        return job.load(self.context)

    @cached_property
    def events(self) -> Mapping[str, NDArray[np.float64]]:
        """Proxies recorded in the originals' own training, each [seeds, N]."""
        arrays = [self.context.load(original).arrays for original in self.originals]
        return {name: np.stack([a[f"events/{name}"] for a in arrays]) for name in EVENTS}

    @cached_property
    def forget(self) -> Indices:
        """The forget set."""
        config = self.experiment.forget
        if config.ids is not None:
            return read_rows(config.ids, self.context.bundle.train.ids)
        assert config.size is not None
        return forget_set(self.scores, config.size, config.pick, config.middle)

    @cached_property
    def partition(self) -> Partition:
        """The forget set as refined subsets."""
        partition = self.experiment.refine(self.forget, self.scores)
        if self.experiment.plan is not None:
            Plan.assign(partition, self.experiment.plan)
        return partition

    @cached_property
    def shuffled(self) -> Partition:
        """The forget set as subsets drawn at random, as many as there are refined ones."""
        names = tuple(f"shuffle{k}" for k in range(1, len(self.partition) + 1))
        return Shuffle(into=names)(self.forget, self.scores)

    @cached_property
    def retrained(self) -> tuple[TrainModel, ...]:
        """The references: retrained from the originals' initial weights."""
        return tuple(TrainModel(o.recipe, o.seed, self.forget) for o in self.originals)

    @cached_property
    def retrained_again(self) -> tuple[TrainModel, ...]:
        """The noise floor: retrained from other initial weights, in another order."""
        again = [Seed(s) / "again" for s in self.experiment.seeds]
        return tuple(TrainModel(self.experiment.recipe, seed, self.forget) for seed in again)

    @cached_property
    def references(self) -> tuple[Evaluate, ...]:
        """The search's references: retrained models of the search seeds, on validation data."""
        return tuple(
            Evaluate(TrainModel(o.recipe, o.seed, self.forget), self.partition, o.seed, "valid")
            for o in self.search_originals[:-FRESH_SEEDS]
        )

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """What is searched, each space with the same budget."""
        search = self.require_search()
        unlearners = {name: find(name, UNLEARNERS, "unlearner") for name in search.unlearners}
        return tuple(
            Space(name, unlearners, self.partition, self.experiment.retain)  # type: ignore[arg-type]
            for name in SPACES
        )

    def trial(self, plan: Plan, fresh: bool = False) -> TryPlan:
        """Return the job that judges a plan, on the search seeds or on the fresh ones."""
        search = self.require_search()
        originals = self.search_originals
        return TryPlan(
            plan,
            originals[-FRESH_SEEDS:] if fresh else originals[:-FRESH_SEEDS],
            self.references,
            search.attack,
            search.max_cost,
        )

    def finalists(self, space: Space, trials: list[dict[str, Any]]) -> list[Plan]:
        """Return the best plans of a search, best first; ties go to the earlier trial."""
        complete = [t for t in trials if t["status"] == "complete"]
        complete.sort(key=lambda t: -t["objective"])
        plans = {repr(t["answers"]): self.plan(space, t) for t in complete}
        return list(plans.values())[:FINALISTS]

    def plan(self, space: Space, trial: Mapping[str, Any]) -> Plan:
        """Return the plan of a trial."""
        return space.plan(lambda name, _: trial["answers"][name])

    def winner(self, plans: list[Plan]) -> Plan:
        """Return the finalist with the best mean over search seeds and fresh seeds."""

        def mean(plan: Plan) -> float:
            jobs = (self.trial(plan), self.trial(plan, fresh=True))
            return float(np.mean([s for job in jobs for s in self._by_seed(job)]))

        return max(plans, key=mean)

    def _by_seed(self, job: TryPlan) -> list[float]:
        """Return a trial's objective by seed; a diverged one counts as the worst."""
        value = self.context.load(job).value
        by_seed: list[float] = value["by_seed"] or [value["objective"]] * len(job.originals)
        return by_seed

    def same(self, unlearner: Unlearner, partition: Partition) -> Plan:
        """Return the plan that gives every subset the same unlearner."""
        return Plan.assign(
            partition, dict.fromkeys(partition.names, unlearner), self.experiment.retain
        )

    def evaluations(self, plan: Plan, keep: bool = False) -> tuple[Evaluate, ...]:
        """Return the jobs that measure a plan on each reported seed, on test."""
        return tuple(
            Evaluate(o, self.partition, o.seed / "plan", "test", plan, keep) for o in self.originals
        )

    def measured(self, models: tuple[TrainModel, ...]) -> tuple[Evaluate, ...]:
        """Return the jobs that measure models as they are, on test."""
        return tuple(Evaluate(m, self.partition, m.seed, "test") for m in models)

    def require_search(self) -> SearchConfig:
        """Return what the searches may do.

        Raises:
            ConfigError: the experiment has no search.
        """
        if self.experiment.search is None:
            raise ConfigError(
                "the experiment has no key 'search', so there is nothing to tune. "
                f"Add one, such as {{trials: 32}}; its keys are {list(to_plain(SearchConfig()))}."
            )
        return self.experiment.search
