"""Distance of an unlearned model from a retrained one: accuracies, ToW, ToW-MIA, disagreement.

ToW = (1 - |a_u(S) - a_r(S)|) (1 - |a_u(R) - a_r(R)|) (1 - |a_u(T) - a_r(T)|)

with a(X) the accuracy on forget set S, retain set R and test set T, u the unlearned and r the
retrained model. ToW-MIA has the values of an attack in place of the forget accuracies (Zhao et al.,
NeurIPS 2024).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rum_ray.data.bundle import DataBundle, complement
from rum_ray.errors import DataError
from rum_ray.evaluation.divergence import jensen_shannon
from rum_ray.evaluation.mia import Predictions, auc_attack, margin, svm_attack
from rum_ray.evaluation.sets import Members, Split, label_sets, sample_members, subset_places
from rum_ray.partition import Partition
from rum_ray.rum import Plan
from rum_ray.training.prediction import check_predictions, check_width, predict


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of one model, each in [0, 1].

    Attributes:
        forget: accuracy on the forget set S.
        retain: accuracy on the retain set R.
        test: accuracy on held-out data.

    Raises:
        ValueError: an accuracy is not in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> rr.Accuracies(forget=0.5, retain=1.0, test=0.9)
        Accuracies(forget=0.5, retain=1.0, test=0.9)
    """

    forget: float
    retain: float
    test: float

    def __post_init__(self) -> None:
        _check_shares("accuracies", forget=self.forget, retain=self.retain, test=self.test)


def tow(unlearned: Accuracies, retrained: Accuracies) -> float:
    """Return the tug-of-war score ToW, in [0, 1]; 1 is as accurate as the retrained model.

    Example:
        >>> import rum_ray as rr
        >>> retrained = rr.Accuracies(forget=0.5, retain=1.0, test=0.9)
        >>> rr.tow(rr.Accuracies(forget=1.0, retain=1.0, test=0.9), retrained)
        0.5
    """
    return (1 - abs(unlearned.forget - retrained.forget)) * _utility(unlearned, retrained)


def tow_mia(
    unlearned: Accuracies, retrained: Accuracies, mia_unlearned: float, mia_retrained: float
) -> float:
    """Return ToW with the values of an attack in place of the forget accuracies, in [0, 1].

    Raises:
        ValueError: a value of the attack is not in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> accuracies = rr.Accuracies(forget=0.5, retain=1.0, test=0.9)
        >>> rr.tow_mia(accuracies, accuracies, mia_unlearned=0.25, mia_retrained=0.5)
        0.75
    """
    _check_shares("the values of the attack", unlearned=mia_unlearned, retrained=mia_retrained)
    return (1 - abs(mia_unlearned - mia_retrained)) * _utility(unlearned, retrained)


def _check_shares(label: str, **shares: float) -> None:
    """Raise ValueError unless all values are in [0, 1]."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{label} must be in [0, 1], got {name}={share}")


def _utility(unlearned: Accuracies, retrained: Accuracies) -> float:
    """Return the factors of retain and test set in ToW."""
    return (1 - abs(unlearned.retain - retrained.retain)) * (
        1 - abs(unlearned.test - retrained.test)
    )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Evaluation of one model; further metrics follow from its probabilities.

    Attributes:
        accuracies: accuracies on forget, retain and test set.
        subsets: forget accuracy, by subset.
        mia: fraction of the forget set that the SVM attack classifies as non-members.
        auc: AUC of the forget set's logits over the non-members'.
        probabilities: float32 [N_F, K], [N_R, K] and [T, K] of "forget", "retain" and "test" set,
            each in the order of its rows.
        labels: labels of the same sets that an attack knows. Those of "test" went through the same
            label process as D.
        places: positions of each subset's rows in the forget set, by subset.
        relearned: forget accuracy after fine-tuning on the retain set; None if not measured.
        cost: cost of making the model, in training runs of the original; None if unknown.
        seconds: time of making the model, in seconds; None if unknown.

    Example:
        >>> import numpy as np
        >>> import rum_ray as rr
        >>> probabilities = {"forget": np.array([[0.9, 0.1], [0.2, 0.8]])}
        >>> accuracies = rr.Accuracies(forget=0.5, retain=1.0, test=0.9)
        >>> model = rr.Evaluation(accuracies, {}, mia=0.4, auc=0.6, probabilities=probabilities)
        >>> model.against(model)["tow"]
        1.0
    """

    accuracies: Accuracies
    subsets: dict[str, float]
    mia: float
    auc: float
    probabilities: dict[str, NDArray[np.float32]]
    labels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    places: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    relearned: float | None = None
    cost: float | None = None
    seconds: float | None = field(default=None, compare=False)

    @property
    def predicted(self) -> dict[str, NDArray[np.int64]]:
        """The classes predicted on each set."""
        return {name: p.argmax(axis=1) for name, p in self.probabilities.items()}

    def logits(self, name: str) -> NDArray[np.float64]:
        """Return logit p_y [N] of a set, clipped to +-100."""
        return margin(self.probabilities[name], self.labels[name])

    def sample(self, members: Members = "random") -> NDArray[np.int64]:
        """Return positions of members in the retain set: as many as non-members, if possible."""
        return sample_members(len(self.labels["retain"]), len(self.labels["test"]), members)

    def pair(self, name: str, places: NDArray[np.int64] | None = None) -> Predictions:
        """Return probabilities and labels of a set, or of some positions in it, for an attack."""
        p, y = self.probabilities[name], self.labels[name]
        return (p, y) if places is None else (p[places], y[places])

    @cached_property
    def subset_aucs(self) -> dict[str, float]:
        """AUC of each subset's logits over the non-members', by subset."""
        return {
            name: auc_attack(self.pair("forget", places), self.pair("test"))
            for name, places in self.places.items()
        }

    def against(self, retrained: "Evaluation") -> dict[str, float]:
        """Return all metrics of this model against a retrained one; gaps are absolute.

        Jensen-Shannon divergences (`js_...`) are in bits. `tow_examples` is the product over
        forget, retain and test set of 1 - disagreement.

        Raises:
            DataError: the other model was evaluated on other examples.
        """
        self._check_examples(retrained)
        ours, theirs = self.accuracies, retrained.accuracies
        metrics = {
            "tow": tow(ours, theirs),
            "tow_mia": tow_mia(ours, theirs, self.mia, retrained.mia),
            "mia": self.mia,
            "mia_gap": abs(self.mia - retrained.mia),
            "auc": self.auc,
            "auc_gap": abs(self.auc - retrained.auc),
            "forget_accuracy": ours.forget,
            "retain_accuracy": ours.retain,
            "test_accuracy": ours.test,
            **self._by_example(retrained),
        }
        for name, accuracy in self.subsets.items():
            metrics[f"forget_accuracy_{name}"] = accuracy
        for name, auc in self.subset_aucs.items():
            metrics[f"auc_{name}"] = auc
            metrics[f"auc_gap_{name}"] = abs(auc - retrained.subset_aucs[name])
        if self.relearned is not None and retrained.relearned is not None:
            metrics["relearned_forget_accuracy"] = self.relearned
            metrics["relearned_gap"] = abs(self.relearned - retrained.relearned)
        made = {"cost": self.cost, "seconds": self.seconds}
        return metrics | {name: value for name, value in made.items() if value is not None}

    def _check_examples(self, other: "Evaluation") -> None:
        """Raise DataError if the sets of both evaluations differ in size or labels."""
        for name, p in self.probabilities.items():
            theirs, both = other.probabilities[name], (self.labels, other.labels)
            labels = [y_of[name] for y_of in both if name in y_of]
            if p.shape != theirs.shape or not all(np.array_equal(labels[0], y) for y in labels):
                raise DataError(
                    f"the {name} sets of two evaluations differ in shape, {p.shape} and "
                    f"{theirs.shape}, or in labels. Compare models on the same data and forget set."
                )

    def _by_example(self, retrained: "Evaluation") -> dict[str, float]:
        """Return metrics that compare predictions per example, on each set and subset."""
        differ, diverge = {}, {}
        for name, p in self.probabilities.items():
            theirs = retrained.probabilities[name]
            differ[name] = p.argmax(axis=1) != theirs.argmax(axis=1)
            diverge[name] = jensen_shannon(p, theirs)
        agreements = [1 - float(examples.mean()) for examples in differ.values()]
        for name, places in self.places.items():
            differ[name], diverge[name] = differ["forget"][places], diverge["forget"][places]
        return {
            "tow_examples": float(np.prod(agreements)),
            **{f"disagreement_{name}": float(v.mean()) for name, v in differ.items()},
            **{f"js_{name}": float(v.mean()) for name, v in diverge.items()},
        }


def evaluate(
    model: nn.Module,
    bundle: DataBundle,
    plan: Plan | Partition,
    split: Split = "test",
    cost: float | None = None,
    seconds: float | None = None,
    members: Members = "random",
) -> Evaluation:
    """Return accuracies, attacks and probabilities of a model.

    Args:
        model: unlearned, retrained or original model.
        bundle: data set.
        plan: plan or partition that defines the forget set and its subsets.
        split: held-out split, "test" or "valid"; searches use "valid".
        cost: cost of making the model, stored in the result.
        seconds: time of making the model, stored in the result.
        members: part of R that fits the SVM attack: "random", or the "first" rows (the paper's).

    Raises:
        DataError: the number of classes differs, or the data lack a row of the plan.
        DivergedError: a prediction is not finite; finite weights may overflow.

    Example:
        >>> import rum_ray as rr
        >>> data, runtime = rr.load("digits"), rr.LocalRuntime(rr.Seed(0))
        >>> model = rr.Recipe("mlp", epochs=1).fit(data.train, runtime)
        >>> evaluation = rr.evaluate(model, data, rr.Partition((rr.Subset("all", [0, 1, 2]),)))
        >>> evaluation.probabilities["forget"].shape
        (3, 10)
    """
    partition = plan.partition if isinstance(plan, Plan) else plan
    (p_train, right), (p_test, test_right) = _predictions(model, bundle, split)
    forget, retain = partition.rows, complement(partition.rows, len(right))
    p = {"forget": p_train[forget], "retain": p_train[retain], "test": p_test}
    labels = label_sets(bundle, partition, split)
    mia, auc = _attacks(p, labels, members)
    parts = (right[forget], right[retain], test_right)
    return Evaluation(
        accuracies=Accuracies(*(float(part.mean()) for part in parts)),
        subsets={s.name: float(right[s.rows].mean()) for s in partition},
        mia=mia,
        auc=auc,
        probabilities=p,
        labels=labels,
        places=subset_places(partition),
        cost=cost,
        seconds=seconds,
    )


def _predictions(
    model: nn.Module, bundle: DataBundle, split: Split
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield the probabilities [N, K] and hits [N] on the training set and on the split."""
    if split not in ("valid", "test"):
        raise ValueError(f"split must be valid or test, got '{split}'")
    for data in (bundle.train, getattr(bundle, split)):
        p = predict(model, data).astype(np.float32)
        check_predictions(p)
        check_width(p.shape[1], bundle.num_classes)
        yield p, p.argmax(axis=1) == data.y.numpy()


def _attacks(
    p: Mapping[str, NDArray[np.float32]], y: Mapping[str, NDArray[np.int64]], members: Members
) -> tuple[float, float]:
    """Return the values of the SVM attack and the AUC attack on the forget set."""
    sample = sample_members(len(y["retain"]), len(y["test"]), members)
    learned: Predictions = (p["retain"][sample], y["retain"][sample])
    targets, nonmembers = (p["forget"], y["forget"]), (p["test"], y["test"])
    return svm_attack(learned, nonmembers, targets), auc_attack(targets, nonmembers)
