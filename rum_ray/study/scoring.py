"""What scores the examples: the jobs that do, and what finished ones say."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.experiment import Experiment, Precision
from rum_ray.jobs import Context, Job, ScoreByProxy, TrainModel, TrainPoolModel, pool_bits
from rum_ray.plugins import find
from rum_ray.scores import PROXIES
from rum_ray.scores.base import Scores
from rum_ray.scores.files import read_scores
from rum_ray.scores.learning_events import EVENTS
from rum_ray.scores.memorization import InOutCounts, soft_memorization
from rum_ray.seeding import Seed
from rum_ray.study.pool_size import PoolSize
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Scoring:
    """What scores D's examples.

    Attributes:
        experiment: what is studied.
        context: the data and the store.
        recipe: of models that are trained from fresh weights.
        originals: of the reported seeds; their training is recorded.
    """

    experiment: Experiment
    context: Context
    recipe: Recipe
    originals: tuple[TrainModel, ...]

    @property
    def jobs(self) -> list[Job]:
        """All that must be done before examples have scores."""
        return [*self.scorers, *self.compared.values()]

    @property
    def scorers(self) -> tuple[Job, ...]:
        """What scores the examples: the leave-k-out pool, a proxy's job, or nothing for a file."""
        return self.pool or self._by_proxy

    @cached_property
    def _by_proxy(self) -> tuple[ScoreByProxy, ...]:
        """The proxy's job, if a proxy scores the examples."""
        score = self.experiment.score
        if score.file is not None or score.name == "memorization":
            return ()
        proxy = find(score.name, PROXIES, "score")()
        return (ScoreByProxy(proxy, score.recipe or self.recipe, Seed(score.seed) / "proxy"),)

    @cached_property
    def compared(self) -> Mapping[str, ScoreByProxy]:
        """The proxies that are compared besides those that are recorded in training."""
        score, recipe = self.experiment.score, self.recipe
        known = set(self._recorded) if score.file else {*self._recorded, score.name}
        seed = Seed(score.seed) / "proxy"
        return {
            name: ScoreByProxy(find(name, PROXIES, "proxy")(), recipe, seed)
            for name in score.compare
            if name not in known
        }

    @property
    def pool(self) -> tuple[TrainPoolModel, ...]:
        """The leave-k-out models; none if the score is another.

        Where a precision is asked, these are the models that there may be as long as finished ones
        do not tell how many count, and then those that do.
        """
        if not isinstance(self.experiment.score.models, Precision):
            return self.pool_size.jobs
        self.pool_size.look()
        return self.pool_size.jobs[: self.pool_size.models if self.pool_size.over else None]

    @property
    def cancelled(self) -> tuple[TrainPoolModel, ...]:
        """The leave-k-out models that finished ones have shown not to be needed."""
        return self.pool_size.jobs[len(self.pool) :]

    @property
    def precision_so_far(self) -> Mapping[str, Any]:
        """How precise memorization is so far, as fields of `ProgressState`."""
        self.pool_size.look()
        found = self.pool_size.statistics
        figures = ", ".join(f"{n.replace('_', ' ')} {value:.3g}" for n, value in found.items())
        note = figures and f"{figures} of {self.pool_size.models} models"
        return {"note": note, "standard_error": found.get("standard_error")}

    @cached_property
    def pool_size(self) -> PoolSize:
        """What finished prefixes of the pool say, which may have so many models."""
        score = self.experiment.score
        if score.file is not None or score.name != "memorization":
            return PoolSize(self.experiment, self.context, ())
        recipe, pool = score.recipe or self.recipe, Seed(score.seed) / "pool"
        most = score.models.max if isinstance(score.models, Precision) else score.models
        keep = bool(self.experiment.evaluate.of_pool)
        jobs = (
            TrainPoolModel(recipe, pool / m, score.fraction, keep, score.confidences, score.fused)
            for m in range(most)
        )
        return PoolSize(self.experiment, self.context, tuple(jobs))

    @cached_property
    def pool_bits(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which examples the models that score saw and are right about, each [M, N]."""
        return pool_bits(self.context, self.choosing)

    @cached_property
    def pool_halves(self) -> tuple[InOutCounts, ...]:
        """The counts of two halves of these models: of even and of odd place."""
        included, correct = self.pool_bits
        return tuple(InOutCounts.of(included[half::2], correct[half::2]) for half in (0, 1))

    @property
    def unused(self) -> tuple[TrainPoolModel, ...]:
        """Half B of the pool, if a search asks it what to expect: then it chooses nothing."""
        search = self.experiment.search
        return self.pool[1::2] if search and "pool" in search.references else ()

    @property
    def choosing(self) -> tuple[TrainPoolModel, ...]:
        """The models whose scores choose the forget set: half A, or all."""
        return self.pool[::2] if self.unused else self.pool

    @cached_property
    def scores(self) -> Scores:
        """How hard D's examples are to forget."""
        file = self.experiment.score.file
        if file is not None:
            return read_scores(file, self.context.bundle.train.ids, self.experiment.score.name)
        if self.pool:
            a, b = self.pool_halves
            return (a + b).scores()
        (job,) = self._by_proxy
        return job.load(self.context)

    @property
    def _recorded(self) -> tuple[str, ...]:
        """The proxies that every original records; none if somebody else trained it."""
        return EVENTS if all(original.weights is None for original in self.originals) else ()

    @cached_property
    def proxies(self) -> Mapping[str, NDArray[np.float64]]:
        """Proxies, each [runs, N]: recorded in training, compared ones, and of the pool."""
        arrays = [self.context.load(original).arrays for original in self.originals]
        recorded = {n: np.stack([a[f"events/{n}"] for a in arrays]) for n in self._recorded}
        jobs = self.compared.items()
        compared = {name: job.load(self.context).values[None] for name, job in jobs}
        return {**recorded, **compared, **self._soft}

    @property
    def _soft(self) -> Mapping[str, NDArray[np.float64]]:
        """Memorization of the probabilities that the pool's models kept, [1, N], if they did."""
        if not self.pool or not self.experiment.score.confidences:
            return {}
        kept = np.stack([self.context.load(job).arrays["confidences"] for job in self.choosing])
        scores = soft_memorization(self.pool_bits[0], kept)
        return {scores.name: scores.values[None]}
