"""References against which a search judges plans (docs/protocol.md 5)."""

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
from rum_ray.jobs.train import TrainPoolModel, unpack
from rum_ray.partition import Partition
from rum_ray.resume import StoredRuntime
from rum_ray.search.objective import Reference
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class RetrainedReference:
    """Models retrained without the forget set ("oracle"), or without a surrogate of it.

    Attributes:
        models: at least three, evaluated on validation data.
    """

    key_name: ClassVar[str] = "Retrained"

    models: tuple[Evaluate, ...]

    @property
    def partition(self) -> Partition:
        """The set that the models were retrained without."""
        return self.models[0].partition

    @property
    def members(self) -> Members:
        """The part of the retain set that the SVM attack is trained on."""
        return self.models[0].members

    def load(self, context: Context) -> Reference:
        """Return the mean over the models; their evaluations must be in the store."""
        return Reference.of([model.load(context) for model in self.models])


@dataclass(frozen=True, eq=False)
class PoolReference:
    """Metrics expected of retrained models, estimated from the leave-k-out pool.

    The expected accuracy on the forget set is that of pool models on the examples they were not
    trained on. The expected accuracies on retain and validation set are those of the originals.
    The attacks run on each pool model. Their targets are the forget examples that the model was not
    trained on; their non-members are a sample, as large as the validation set, of all examples that
    it was not trained on. Pool models train on fewer examples than retrained ones, so the estimate
    on the forget set is too low; see docs/protocol.md 5.

    Attributes:
        partition: the forget set.
        models: the originals of the search seeds, evaluated on validation data.
        pool: pool models with stored confidences; their scores did not choose the forget set.
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
        """The seed of the first original; nothing is drawn."""
        return self.models[0].seed

    @property
    def members(self) -> Members:
        """The part of the retain set that the SVM attack is trained on."""
        return self.models[0].members

    def key(self, context: Context) -> Key:
        """Return the key of the reference."""
        valid = context.eval_fingerprint("valid")
        return Key("expected", {"job": self, "valid": valid, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return accuracies and attacks as value; the models and the pool must be in the store."""
        del runtime
        forget, total, size = (
            self.partition.rows,
            len(context.bundle.train),
            len(context.bundle.valid),
        )
        outside, right = np.zeros((2, len(forget)), dtype=np.int64)
        attacks: dict[int, tuple[float, float]] = {}
        for number, record in context.load_each(self.pool):
            included, correct = (unpack(record.arrays[n], total) for n in ("included", "correct"))
            unseen = ~included[forget]
            outside += unseen
            right += correct[forget] & unseen
            if unseen.any():
                attacks[number] = self._attack(record.arrays["confidences"], included, size)
        # The bits of a mean depend on the order.
        mia, ranked = np.mean([attacks[number] for number in sorted(attacks)], axis=0)
        accuracies = [model.load(context).accuracies for model in self.models]
        value = {
            "forget": float((right / outside).mean()),
            "retain": float(np.mean([a.retain for a in accuracies])),
            "test": float(np.mean([a.test for a in accuracies])),
            "mia": float(mia),
            "auc": float(ranked),
        }
        return Artifact(value=value)

    def _attack(
        self, confidences: NDArray[np.float16], learned: NDArray[np.bool_], size: int
    ) -> tuple[float, float]:
        """Return the results of both attacks on one model of the pool.

        Args:
            confidences: [N] probabilities of the labels, for all of D.
            learned: [N] True for the examples that the model was trained on.
            size: number of examples of the validation set.
        """
        forget, retain = self.partition.rows, complement(self.partition.rows, len(learned))
        members, unseen = retain[learned[retain]], np.flatnonzero(~learned)
        # As many as V has: the time of an SVM grows with the square of their number, and the
        # attack depends on it.
        unseen = unseen[sample_members(len(unseen), size, "random")]
        sample = sample_members(len(members), len(unseen), self.members)
        sets = (members[sample], unseen, forget[~learned[forget]])
        inside, outside, targets = (_predictions(confidences[rows]) for rows in sets)
        return svm_attack(inside, outside, targets), auc_attack(targets, outside)

    def load(self, context: Context) -> Reference:
        """Return the reference, from the store or computed."""
        value = dict(context.get_or_compute_locked(self).value)
        mia, ranked = value.pop("mia"), value.pop("auc")
        return Reference(Accuracies(**value), mia=mia, auc=ranked)


def _predictions(confidences: NDArray[np.float16]) -> Predictions:
    """Return confidences [N] in the labels as predictions of two classes: the label, or not."""
    p = confidences.astype(np.float64)
    return np.stack([p, 1 - p], axis=1), np.zeros(len(p), dtype=np.int64)
