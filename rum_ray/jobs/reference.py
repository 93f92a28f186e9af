"""What a search judges plans against, by what it may know (docs/protocol.md 5)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import complement
from rum_ray.evaluation.mia import Predictions, auc_attack, svm_attack
from rum_ray.evaluation.sets import Members, sample_members
from rum_ray.evaluation.tow import Accuracies
from rum_ray.jobs.context import Context
from rum_ray.jobs.evaluate import Evaluate
from rum_ray.jobs.train import TrainPoolModel, pool_bits
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Partition
from rum_ray.search.objective import Reference
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class RetrainedReference:
    """Models retrained without a forget set: an oracle's, or anybody's without a surrogate of it.

    Attributes:
        models: at least three, evaluated on validation data.
    """

    key_name: ClassVar[str] = "Retrained"

    models: tuple[Evaluate, ...]

    @property
    def partition(self) -> Partition:
        """What they were retrained without."""
        return self.models[0].partition

    @property
    def members(self) -> Members:
        """Which of the retain set the SVM attack learns from."""
        return self.models[0].members

    def load(self, context: Context) -> Reference:
        """Return the mean of the models, which must be in the store."""
        return Reference.of([model.load(context) for model in self.models])


@dataclass(frozen=True, eq=False)
class PoolReference:
    """What one may expect of retrained models without retraining, from the leave-k-out pool.

    On the forget set, as often right as the models of the pool that did not see an example; on
    retain and validation set, as the originals. An attack meets the forget set where a model did
    not see it, and as non-members a sample, as large as the validation set, of all that the model
    did not see. Pool models learn less than retrained ones, so the level on the forget set is too
    low; see docs/protocol.md 5.

    Attributes:
        partition: the forget set.
        models: the originals of the search seeds, evaluated on validation data.
        pool: models that kept their confidences, none of which has chosen the forget set.
    """

    key_name: ClassVar[str] = "Expected"

    partition: Partition
    models: tuple[Evaluate, ...]
    pool: tuple[TrainPoolModel, ...]

    @property
    def recipe(self) -> Recipe:
        """The originals' recipe."""
        return self.models[0].recipe

    @property
    def seed(self) -> Seed:
        """The first original's; nothing is drawn."""
        return self.models[0].seed

    @property
    def members(self) -> Members:
        """Which of the retain set the SVM attack learns from."""
        return self.models[0].members

    def key(self, context: Context) -> Key:
        """Return the key of the reference."""
        valid = context.eval_fingerprint("valid")
        return Key("expected", {"job": self, "valid": valid, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return accuracies and attacks, as the value; models and pool must be in the store."""
        del runtime
        included, correct = pool_bits(context, self.pool)
        forget = self.partition.rows
        outside = ~included[:, forget]
        right = (correct[:, forget] & outside).sum(axis=0) / outside.sum(axis=0)
        known = [model.load(context).accuracies for model in self.models]
        size = len(context.bundle.valid)
        answers = [
            self._asked(context.load(asked).arrays["confidences"], learned, size)
            for asked, learned in zip(self.pool, included, strict=True)
            if not learned[forget].all()
        ]
        mia, ranked = np.mean(answers, axis=0)
        value = {
            "forget": float(right.mean()),
            "retain": float(np.mean([a.retain for a in known])),
            "test": float(np.mean([a.test for a in known])),
            "mia": float(mia),
            "auc": float(ranked),
        }
        return Artifact(value=value)

    def _asked(
        self, confidences: NDArray[np.float16], learned: NDArray[np.bool_], size: int
    ) -> tuple[float, float]:
        """Return what both attacks answer of one model's confidences [N].

        Args:
            confidences: of the labels, of all of D.
            learned: [N], what the model was trained on.
            size: of the validation set.
        """
        forget, retain = self.partition.rows, complement(self.partition.rows, len(learned))
        members, unseen = retain[learned[retain]], np.flatnonzero(~learned)
        # As many as V has: an SVM on more takes its square, and would be another attack.
        unseen = unseen[sample_members(len(unseen), size, "random")]
        sample = sample_members(len(members), len(unseen), self.members)
        sets = (members[sample], unseen, forget[~learned[forget]])
        inside, outside, targets = (_predictions(confidences[rows]) for rows in sets)
        return svm_attack(inside, outside, targets), auc_attack(targets, outside)

    def load(self, context: Context) -> Reference:
        """Return the reference, made if need be."""
        value = dict(context.get_or_compute_locked(self).value)
        mia, ranked = value.pop("mia"), value.pop("auc")
        return Reference(Accuracies(**value), mia=mia, auc=ranked)


def _predictions(confidences: NDArray[np.float16]) -> Predictions:
    """Return confidences [N] in labels as an attack takes them: this class against the others."""
    p = confidences.astype(np.float64)
    return np.stack([p, 1 - p], axis=1), np.zeros(len(p), dtype=np.int64)
