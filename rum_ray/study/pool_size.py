"""The size of the leave-k-out pool: the first 64, 128, ... models that reach a precision.

Only these prefixes of the pool are tested, each once all its models are finished. So the size does
not depend on the number of workers, on crashes, or on later models that are finished already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import StoreError
from rum_ray.evaluation.pool import LEAST_MODELS
from rum_ray.experiment import Experiment, Precision
from rum_ray.jobs import Context, TrainPoolModel, pool_bits
from rum_ray.refinement import ByScore
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import InOutCounts
from rum_ray.scores.reliability import STEP, changed_share
from rum_ray.seeding import Seed
from rum_ray.study.forget import choose_forget_set

Bits: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Included examples and correct predictions of some models, each [M, N] in packed bits."""


@dataclass(eq=False)
class PoolSize:
    """The finished prefixes of a pool; each is read once, up to the first that is precise enough.

    Attributes:
        experiment: sets the number of models, or the precision of memorization.
        context: the data and the store.
        jobs: all models that the experiment allows, in order.
        models: number of models of the largest prefix that was read.
        statistics: statistics of that prefix: `standard_error`, the mean over D; and `changed`, the
            share of the forget set whose subset would differ with other models, if that decides.
            Empty as long as an example was in or out of fewer than two models.
        reached: True if the prefix is precise enough.
    """

    experiment: Experiment
    context: Context
    jobs: tuple[TrainPoolModel, ...]
    models: int = 0
    statistics: Mapping[str, float] = field(default_factory=dict)
    reached: bool = False
    _counts: InOutCounts | None = None
    _bits: Sequence[Bits] = ()

    @property
    def over(self) -> bool:
        """True once the size of the pool is known."""
        return self.reached or self.models == len(self.jobs)

    def look(self) -> None:
        """Read the prefixes that have finished, up to the first that is precise enough."""
        while not self.over:
            block = self.jobs[self.models : self.models + STEP]
            if not all(map(self.context.has, block)):
                return
            try:
                self._add(*pool_bits(self.context, block))
            except StoreError:
                # A damaged record was quarantined, so its model is missing again.
                return

    def _add(self, included: NDArray[np.bool_], correct: NDArray[np.bool_]) -> None:
        """Add the next models and test the precision."""
        goal = self.experiment.score.models
        counts = InOutCounts.of(included, correct)
        counts = counts if self._counts is None else self._counts + counts
        complete = min(counts.seen.min(), counts.unseen.min()) >= LEAST_MODELS
        statistics, bits = {}, self._bits
        if complete:
            statistics["standard_error"] = float(counts.scores().standard_errors.mean())
        if isinstance(goal, Precision) and goal.changed is not None:
            bits = [*bits, (np.packbits(included, axis=1), np.packbits(correct, axis=1))]
            if complete:
                statistics["changed"] = self._changed(counts.scores(), bits)
        # All at once: an error above must not leave a prefix counted but not tested.
        self._counts, self._bits, self.statistics = counts, bits, statistics
        self.models += len(included)
        if isinstance(goal, Precision):
            name, most = goal.rule
            self.reached = name in statistics and statistics[name] <= most

    def _changed(self, scores: Scores, bits: Sequence[Bits]) -> float:
        """Return the share of the forget set whose subset would differ with other models."""
        forget = choose_forget_set(self.experiment, self.context.bundle, scores, None)
        refiner, seed = self.experiment.refine, Seed(self.experiment.score.seed)
        assert isinstance(refiner, ByScore)
        included, correct = (
            np.unpackbits(np.concatenate(blocks), axis=1, count=len(scores))[:, forget].astype(bool)
            for blocks in zip(*bits, strict=True)
        )
        return changed_share(included, correct, len(refiner.into), seed)
