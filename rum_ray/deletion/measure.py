"""The measurements of a deletion: accuracies and attacks, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import complement
from rum_ray.deletion.pool import Prepared
from rum_ray.deletion.request import Request
from rum_ray.evaluation.peers import (
    auc_interval,
    change_interval,
    peer_scores,
    share_interval,
    tpr_interval,
)
from rum_ray.evaluation.pool import LEAST_MODELS, PoolEvidence, lira_scores, rmia_scores
from rum_ray.partition import Partition
from rum_ray.results.schema.evidence import (
    AccuracyRow,
    AttackRow,
    Estimate,
    SingleRows,
    StartingModel,
)
from rum_ray.seeding import Seed

RATE = 0.01
"""False positive rate of the attacks on single rows."""
NEAR_CHANCE = 2.0
"""An accuracy below this many times that of guessing is near chance."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model predicts, by set: "train", "test" and "past".

    Attributes:
        right: True where the predicted class is the label.
        logits: logit of the label.
        around: difficulty of the request and of the test rows, by the labels around them in the
            embedding space of this model; None where it has no embeddings.
    """

    right: Mapping[str, NDArray[np.bool_]]
    logits: Mapping[str, Array]
    around: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Predictions":
        """Return the predictions in the result of a `MeasureModel`."""
        parts = {
            kind: {
                name.partition("/")[2]: array
                for name, array in arrays.items()
                if name.startswith(f"{kind}/")
            }
            for kind in ("right", "logit")
        }
        right = {name: np.asarray(array, dtype=bool) for name, array in parts["right"].items()}
        around = None
        if "difficulty/forget" in arrays:
            both = (arrays["difficulty/forget"], arrays["difficulty/test"])
            around = both[0].astype(np.float64), both[1].astype(np.float64)
        logits = {name: array.astype(np.float64) for name, array in parts["logit"].items()}
        return cls(right, logits, around)


def starting_model(before: Predictions, classes: int, original: bool) -> StartingModel:
    """Return the accuracies of the model that a request starts from.

    Args:
        before: its predictions.
        classes: number of classes.
        original: True for the original.
    """
    train, test = (_share(before.right[name]) for name in ("train", "test"))
    near_chance = (train.value or 0.0) < NEAR_CHANCE / classes
    return StartingModel(original=original, train=train, test=test, near_chance=near_chance)


def accuracies(
    partition: Partition, before: Predictions, after: Predictions
) -> tuple[AccuracyRow, ...]:
    """Return the accuracies on test, retain and forget set and on each subset."""
    forget = partition.rows
    places = {"retain": complement(forget, len(after.right["train"])), "forget": forget}
    places |= {subset.name: subset.rows for subset in partition}
    rows = [_accuracy("test", before.right["test"], after.right["test"])]
    for name, chosen in places.items():
        rows.append(_accuracy(name, before.right["train"][chosen], after.right["train"][chosen]))
    return tuple(rows)


def _accuracy(name: str, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> AccuracyRow:
    """Return the accuracies on one set."""
    return AccuracyRow(
        name=name,
        size=len(after),
        before=_share(before),
        after=_share(after),
        change=Estimate(*change_interval(before, after)),
    )


@dataclass(frozen=True, eq=False)
class Attacked:
    """The rows of an attack, and all that it knows about them.

    Attributes:
        request: the rows to forget, and the test rows.
        before: predictions of the model that the request started from.
        after: predictions of the published model.
        prepared: the pool, if there is one.
        places: of the request in the pool.
    """

    request: Request
    before: Predictions
    after: Predictions
    prepared: Prepared | None = None
    places: NDArray[np.int64] | None = None

    @property
    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The labels of the request, and those of the test rows that an attack knows."""
        bundle = self.request.bundle
        return bundle.train.y.numpy()[self.request.rows], bundle.nonmembers("test").y.numpy()

    def logits(self, model: Predictions) -> tuple[Array, Array]:
        """Return the logits of the request and of the test rows."""
        return model.logits["train"][self.request.rows], model.logits["test"]

    def evidence(self, model: Predictions) -> tuple[PoolEvidence, PoolEvidence]:
        """Return the evidence of the pool on one model."""
        assert self.prepared is not None
        assert self.places is not None
        return self.prepared.against(self.places, *self.logits(model))

    def difficulty(self, model: Predictions) -> tuple[Array, Array] | None:
        """Return the difficulty of the request and of the test rows, without their own part in it.

        Without a pool, it is that of the labels around the rows in the model's own embedding space.
        Another model's space would not do: one that has learned a wrong label has moved the row
        among those of that label, where it looks easy.
        """
        if self.prepared is not None and self.places is not None:
            return self.prepared.difficulty(self.places)
        return model.around


def attacks(attacked: Attacked) -> tuple[AttackRow, ...]:
    """Return the attacks on the forgotten rows, before and after."""
    both = attacked.before, attacked.after

    def peers(difficulties: Sequence[tuple[Array, Array] | None]) -> list[tuple[Array, Array]]:
        pairs = zip(both, difficulties, strict=True)
        return [peer_scores(attacked.logits(m), attacked.labels, hard) for m, hard in pairs]

    rows = [attack_row("by_class", peers([None, None]))]
    difficulties = [attacked.difficulty(model) for model in both]
    if None not in difficulties:
        rows.append(attack_row("by_difficulty", peers(difficulties)))
    if attacked.prepared is not None:
        asked = [attacked.evidence(model) for model in both]
        scored = [(lira_scores(targets), lira_scores(unseen)) for targets, unseen in asked]
        rows.append(attack_row("pool_lira", scored))
        scored = [(rmia_scores(t, unseen), rmia_scores(unseen, unseen)) for t, unseen in asked]
        rows.append(attack_row("pool_rmia", scored))
    return tuple(rows)


def attack_row(name: str, scores: Sequence[tuple[Array, Array]]) -> AttackRow:
    """Return an attack from its scores of forgotten and of unseen rows, before and after."""
    before, after = scores
    return AttackRow(
        name=name,
        forgotten=len(after[0]),
        unseen=len(after[1]),
        auc_before=Estimate(*auc_interval(*before)),
        auc=Estimate(*auc_interval(*after)),
        tpr_before=_tpr(*before),
        tpr=_tpr(*after),
    )


def _tpr(targets: Array, unseen: Array) -> Estimate:
    """Return the share of the targets that is found at a false positive rate of 1 %."""
    found = tpr_interval(targets, unseen, RATE)
    if found is None:
        return Estimate(None, reason=f"needs {1 / RATE:.0f} unseen rows")
    return Estimate(*found)


def past_attack(attacked: Attacked) -> Estimate:
    """Return the AUC of all rows ever forgotten, on the published model, by class."""
    (logits, unseen), (labels, others) = attacked.logits(attacked.after), attacked.labels
    past = attacked.request.past
    if len(past):
        logits = np.concatenate([logits, attacked.after.logits["past"]])
        labels = np.concatenate([labels, past.y.numpy()])
    return Estimate(*auc_interval(*peer_scores((logits, unseen), (labels, others))))


def single_rows(attacked: Attacked) -> SingleRows | None:
    """Return how many single rows stand out from models that never saw them; None without a pool.

    Half of the test rows set the threshold, so that the false positive rate is measured on the
    other half.
    """
    if attacked.prepared is None or attacked.places is None:
        return None
    models = attacked.before, attacked.after
    (told_before, unseen_before), (told, unseen) = (
        tuple(map(lira_scores, attacked.evidence(model))) for model in models
    )
    order = (Seed(0) / "deletion" / "calibration").permutation(len(unseen))
    sets, measures = order[: len(order) // 2], order[len(order) // 2 :]
    threshold = float(np.quantile(unseen[sets], 1 - RATE, method="higher"))
    before = float(np.quantile(unseen_before[sets], 1 - RATE, method="higher"))
    outside = (~attacked.prepared.included[:, attacked.places]).sum(axis=0)
    return SingleRows(
        models=attacked.prepared.models,
        least=int(outside.min()),
        threshold=threshold,
        false_positive_rate=_share(unseen[measures] > threshold),
        before=_share(told_before > before),
        after=_share(told > threshold),
        standing_out=int((told > threshold).sum()),
    )


def _share(hits: NDArray[np.bool_]) -> Estimate:
    """Return a share with its interval."""
    return Estimate(*share_interval(int(hits.sum()), len(hits)))


def enough_models(prepared: Prepared, places: NDArray[np.int64]) -> bool:
    """Return True if each row has two models of the pool that never saw it."""
    return bool(((~prepared.included[:, places]).sum(axis=0) >= LEAST_MODELS).all())
