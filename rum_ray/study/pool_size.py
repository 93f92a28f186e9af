"""How many leave-k-out models are enough: the first 64, 128, ... that are as precise as asked.

Only these prefixes are looked at, each when all its models are finished. So neither the number of
workers, nor a crash, nor which later models happen to be finished changes how many count.
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
from rum_ray.study.forget import chosen

Bits: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Which examples some models were trained on and are right about, each [M, N] in packed bits."""


@dataclass(eq=False)
class PoolSize:
    """The finished prefixes of a pool; each is read once, up to the first that is precise enough.

    Attributes:
        experiment: says how precise memorization is to be, if it does.
        context: the data and the store.
        jobs: the models that there may be, in their order.
        models: how many the largest prefix has that was read.
        statistics: of that prefix: `standard_error`, the mean over D; and `changed`, the share of
            the forget set whose subset other models would change, if that decides. Empty as long
            as an example was in or out of fewer than two models.
        reached: whether it is as precise as asked.
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
        """Whether it is known how many models count."""
        return self.reached or self.models == len(self.jobs)

    def look(self) -> None:
        """Read the prefixes that were finished since, up to the first that is precise enough."""
        while not self.over:
            block = self.jobs[self.models : self.models + STEP]
            if not all(map(self.context.has, block)):
                return
            try:
                self._add(*pool_bits(self.context, block))
            except StoreError:
                # A damaged record was moved aside, so its model is to be made again.
                return

    def _add(self, included: NDArray[np.bool_], correct: NDArray[np.bool_]) -> None:
        """Count the next models, and hold what is known now against what is asked."""
        asked = self.experiment.score.models
        counts = InOutCounts.of(included, correct)
        counts = counts if self._counts is None else self._counts + counts
        known = min(counts.seen.min(), counts.unseen.min()) >= LEAST_MODELS
        figures, bits = {}, self._bits
        if known:
            figures["standard_error"] = float(counts.scores().standard_errors.mean())
        if isinstance(asked, Precision) and asked.changed is not None:
            bits = [*bits, (np.packbits(included, axis=1), np.packbits(correct, axis=1))]
            if known:
                figures["changed"] = self._changed(counts.scores(), bits)
        # All at once: what raised above must not leave a prefix counted and not judged.
        self._counts, self._bits, self.statistics = counts, bits, figures
        self.models += len(included)
        if isinstance(asked, Precision):
            name, most = asked.rule
            self.reached = name in figures and figures[name] <= most

    def _changed(self, scores: Scores, bits: Sequence[Bits]) -> float:
        """Return the share of the forget set whose subset other models would change."""
        forget = chosen(self.experiment, self.context.bundle, scores, None)
        refiner, seed = self.experiment.refine, Seed(self.experiment.score.seed)
        assert isinstance(refiner, ByScore)
        included, correct = (
            np.unpackbits(np.concatenate(blocks), axis=1, count=len(scores))[:, forget].astype(bool)
            for blocks in zip(*bits, strict=True)
        )
        return changed_share(included, correct, len(refiner.into), seed)
