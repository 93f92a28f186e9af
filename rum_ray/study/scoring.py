"""Difficulty scores: the jobs that compute them, and their results."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.experiment import Experiment, Precision
from rum_ray.jobs import (
    Context,
    Job,
    ScoreByProxy,
    TrainModel,
    TrainPoolModel,
    pool_bits,
    pool_counts,
)
from rum_ray.jobs.train import unpack
from rum_ray.partition import Partition
from rum_ray.scores import find_proxy
from rum_ray.scores.base import Scores
from rum_ray.scores.files import read_scores
from rum_ray.scores.learning_events import EVENTS
from rum_ray.scores.memorization import InOutCounts, PoolBits, SoftMemorization
from rum_ray.seeding import Seed
from rum_ray.study.pool_size import PoolSize
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning.datamodel import predicted_shifts, recorded_outputs


@dataclass(frozen=True, eq=False)
class Scoring:
    """The scores of D's examples.

    Attributes:
        experiment: sets the score.
        context: the data and the store.
        recipe: recipe of models that are trained from random initial weights.
        originals: originals of the reported seeds; their training records learning events.
    """

    experiment: Experiment
    context: Context
    recipe: Recipe
    originals: tuple[TrainModel, ...]

    @property
    def jobs(self) -> list[Job]:
        """The jobs that compute scores and compared proxies."""
        return [*self.scorers, *self.compared.values()]

    @property
    def scorers(self) -> tuple[Job, ...]:
        """The jobs that compute the score: the pool, or one proxy; none for scores from a file."""
        return self.pool or self._by_proxy

    @cached_property
    def _by_proxy(self) -> tuple[ScoreByProxy, ...]:
        """The job of the proxy that is the score, if it is one."""
        score = self.experiment.score
        if score.file is not None or score.name == "memorization":
            return ()
        proxy = find_proxy(score.name)()
        return (ScoreByProxy(proxy, score.recipe or self.recipe, Seed(score.seed) / "proxy"),)

    @cached_property
    def compared(self) -> Mapping[str, ScoreByProxy]:
        """The jobs of compared proxies, except those that training records and the score itself."""
        score, recipe = self.experiment.score, self.recipe
        available = set(self._recorded) if score.file else {*self._recorded, score.name}
        seed = Seed(score.seed) / "proxy"
        return {
            name: ScoreByProxy(find_proxy(name)(), recipe, seed)
            for name in score.compare
            if name not in available
        }

    @property
    def pool(self) -> tuple[TrainPoolModel, ...]:
        """The leave-k-out models; none if memorization is not the score.

        With a precision as goal, these are all models that the experiment allows until the finished
        ones determine the size of the pool.
        """
        if not isinstance(self.experiment.score.models, Precision):
            return self.pool_size.jobs
        self.pool_size.look()
        return self.pool_size.jobs[: self.pool_size.models if self.pool_size.over else None]

    @property
    def cancelled(self) -> tuple[TrainPoolModel, ...]:
        """The leave-k-out models that the precision of the finished ones makes unnecessary."""
        return self.pool_size.jobs[len(self.pool) :]

    @property
    def precision_so_far(self) -> Mapping[str, Any]:
        """The precision of memorization so far, as fields of `ProgressState`."""
        self.pool_size.look()
        statistics = self.pool_size.statistics
        text = ", ".join(f"{n.replace('_', ' ')} {value:.3g}" for n, value in statistics.items())
        note = text and f"{text} of {self.pool_size.models} models"
        return {"note": note, "standard_error": statistics.get("standard_error")}

    @cached_property
    def pool_size(self) -> PoolSize:
        """The size of the pool, from its finished prefixes; no models without memorization."""
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
    def pool_halves(self) -> tuple[InOutCounts, ...]:
        """The counts of two halves of `scoring_half`: the models at even and at odd places."""
        return pool_counts(self.context, self.scoring_half, groups=2)

    def pool_bits(self, rows: Indices) -> PoolBits | None:
        """Return the bits of `scoring_half` on rows of D; None without a pool."""
        return pool_bits(self.context, self.scoring_half, rows) if self.pool else None

    @property
    def reference_half(self) -> tuple[TrainPoolModel, ...]:
        """Half B of the pool, if a search uses it as reference; its scores choose nothing."""
        search = self.experiment.search
        return self.pool[1::2] if search and "pool" in search.references else ()

    @property
    def scoring_half(self) -> tuple[TrainPoolModel, ...]:
        """The models whose scores choose the forget set: half A of the pool, or all."""
        return self.pool[::2] if self.reference_half else self.pool

    @cached_property
    def scores(self) -> Scores:
        """The scores of D; higher is harder to forget."""
        file = self.experiment.score.file
        if file is not None:
            return read_scores(file, self.context.bundle.train, self.experiment.score.name)
        if self.pool:
            a, b = self.pool_halves
            return (a + b).scores()
        (job,) = self._by_proxy
        return job.load(self.context)

    def foreseen(self, partition: Partition) -> Partition:
        """Return the subsets with the shifts that the pool predicts, if an unlearner needs them."""
        if not self.experiment.foreseeing:
            return partition
        shifts = predicted_shifts(*self.outputs, [subset.rows for subset in partition])
        both = zip(partition, shifts, strict=True)
        return Partition(tuple(replace(subset, shift=shift) for subset, shift in both))

    @cached_property
    def outputs(self) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Included examples and recorded outputs of `scoring_half`, both [M, N]."""
        total, jobs = len(self.context.bundle.train), self.scoring_half
        included = np.zeros((len(jobs), total), dtype=bool)
        outputs = np.zeros(included.shape, dtype=np.float32)
        for number, record in self.context.load_each(jobs):
            included[number] = unpack(record.arrays["included"], total)
            outputs[number] = recorded_outputs(record.arrays["confidences"])
        return included, outputs

    @property
    def _recorded(self) -> tuple[str, ...]:
        """The proxies that the training of the originals records; none if they are pretrained."""
        return EVENTS if all(original.weights is None for original in self.originals) else ()

    @cached_property
    def proxies(self) -> Mapping[str, NDArray[np.float64]]:
        """All proxies, each [runs, N]: recorded in training, compared, and from the pool."""
        arrays = [self.context.load(original).arrays for original in self.originals]
        recorded = {n: np.stack([a[f"events/{n}"] for a in arrays]) for n in self._recorded}
        jobs = self.compared.items()
        compared = {name: job.load(self.context).values[None] for name, job in jobs}
        return {**recorded, **compared, **self._soft}

    @property
    def _soft(self) -> Mapping[str, NDArray[np.float64]]:
        """Soft memorization [1, N] from the probabilities that the pool saved, if it did."""
        if not self.pool or not self.experiment.score.confidences:
            return {}
        total = len(self.context.bundle.train)
        # float64 adds float16 exactly, so the order of the models does not matter.
        soft = SoftMemorization(total)
        for _, record in self.context.load_each(self.scoring_half):
            soft.add(unpack(record.arrays["included"], total), record.arrays["confidences"])
        scores = soft.scores()
        return {scores.name: scores.values[None]}
