"""The size of the leave-k-out pool: the first 64, 128, ... models that reach a precision.

Only these prefixes of the pool are tested, each once all its models are finished. So the size does
not depend on the number of workers, on crashes, or on later models that are finished already.
"""

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO

import numpy as np

from rum_ray.errors import StoreError
from rum_ray.evaluation.pool import LEAST_MODELS
from rum_ray.experiment import Experiment, Precision
from rum_ray.jobs import Context, TrainPoolModel, pool_bits
from rum_ray.refinement import ByScore
from rum_ray.scores.base import Scores
from rum_ray.scores.memorization import InOutCounts, PoolBits
from rum_ray.scores.reliability import STEP, changed_share
from rum_ray.seeding import Seed
from rum_ray.study.forget import choose_forget_set


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
    _missing: set[TrainPoolModel] | None = None

    @property
    def over(self) -> bool:
        """True once the size of the pool is known."""
        return self.reached or self.models == len(self.jobs)

    def look(self) -> None:
        """Read the prefixes that have finished, up to the first that is precise enough."""
        while not self.over:
            block = self.jobs[self.models : self.models + STEP]
            if not self._finished(block):
                return
            try:
                bits = pool_bits(self.context, block)
            except StoreError:
                # A damaged record was quarantined, so its model is missing again.
                self._missing = None
                return
            self._add(bits)

    def _finished(self, block: tuple[TrainPoolModel, ...]) -> bool:
        """Return True if the store has all these models; those that it had are not asked for."""
        if self._missing is None:
            self._missing = {*self.context.missing(self.jobs[self.models :])}
        # Models are trained in order, so the last one is finished last.
        for job in reversed(block):
            if job in self._missing:
                if not self.context.has(job):
                    return False
                self._missing.remove(job)
        return True

    def _add(self, bits: PoolBits) -> None:
        """Add the next models and test the precision."""
        goal, counts = self.experiment.score.models, bits.counts()
        counts = counts if self._counts is None else self._counts + counts
        complete = min(counts.seen.min(), counts.unseen.min()) >= LEAST_MODELS
        statistics = {}
        if complete:
            statistics["standard_error"] = float(counts.scores().standard_errors.mean())
        if isinstance(goal, Precision) and goal.changed is not None:
            self._write(bits)
            if complete:
                statistics["changed"] = self._changed(counts.scores(), self.models + len(bits))
        # All at once: an error above must not leave a prefix counted but not tested.
        self._counts, self.statistics = counts, statistics
        self.models += len(bits)
        if isinstance(goal, Precision):
            name, most = goal.rule
            self.reached = name in statistics and statistics[name] <= most

    def _changed(self, scores: Scores, models: int) -> float:
        """Return the share of the forget set whose subset would differ with other models."""
        forget = choose_forget_set(self.experiment, self.context.bundle, scores, None)
        refiner, seed = self.experiment.refine, Seed(self.experiment.score.seed)
        assert isinstance(refiner, ByScore)
        parts = []
        for block in self._blocks(models):
            included, correct = block.arrays()
            parts.append(PoolBits.of(included[:, forget], correct[:, forget]))
        bits = PoolBits(
            np.concatenate([part.included for part in parts]),
            np.concatenate([part.correct for part in parts]),
            len(forget),
        )
        return changed_share(bits, len(refiner.into), seed)

    @cached_property
    def _file(self) -> IO[bytes]:
        """The bits of the prefix, packed: each prefix has another forget set.

        They lie in a temporary file, because those of 100,000 models of 50,000 examples are
        1.25 GB.
        """
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, file.close)
        return file

    def _write(self, bits: PoolBits) -> None:
        """Append the next models to the file."""
        try:
            self._file.seek(2 * self.models * bits.included.shape[1])
            self._file.write(bits.included.tobytes() + bits.correct.tobytes())
            self._file.flush()
        except OSError as error:
            raise StoreError(
                f"cannot write the pool's bits to {tempfile.gettempdir()}: {error.strerror}. Free "
                "space there, or set TMPDIR to another folder."
            ) from error

    def _blocks(self, models: int) -> Iterator[PoolBits]:
        """Yield the bits of the first models, as they were written."""
        total = len(self.context.bundle.train)
        self._file.seek(0)
        for start in range(0, models, STEP):
            shape = (2, min(STEP, models - start), -(-total // 8))
            content = self._file.read(int(np.prod(shape)))
            included, correct = np.frombuffer(content, np.uint8).reshape(shape)
            yield PoolBits(included, correct, total)
