"""evidence.json: the measurements of one deletion, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rum_ray.errors import DataError
from rum_ray.results.schema.rows import OPTIONAL, PlanStep
from rum_ray.results.schema.summary import to_json


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval.

    Attributes:
        value: None if it is not measured.
        low: lower end of the interval.
        high: upper end of the interval.
        reason: why there is no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The request.

    Attributes:
        listed: ids in the list.
        already: ids in the list that an earlier request has forgotten.
        forgotten: rows that this request forgets.
        classes: number of these rows by class; with `--public`, without numbers below 10.
        whole_classes: classes of which no row remains.
    """

    listed: int
    already: int
    forgotten: int
    classes: Mapping[str, int]
    whole_classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartingModel:
    """The model that the request starts from, which is measured first.

    Attributes:
        original: True for the original, False for the model of the request before.
        train: accuracy on D, the rows of the request included.
        test: accuracy on the test set.
        near_chance: True if the accuracy on D is below twice that of guessing.
    """

    original: bool
    train: Estimate
    test: Estimate
    near_chance: bool


@dataclass(frozen=True, kw_only=True)
class Done:
    """The unlearning.

    Attributes:
        data: name of the data set.
        rows: rows of D before this request, without those forgotten before.
        test: rows of the test set.
        model: name of the network.
        score: name of the difficulty score that splits the request into subsets.
        source: origin of the plan: "file" or "auto".
        plan: the steps in order.
        sizes: number of rows by subset.
    """

    data: str
    rows: int
    test: int
    model: str
    score: str
    source: str
    plan: tuple[PlanStep, ...]
    sizes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """The accuracy on one set of rows, before and after.

    Attributes:
        name: "test", "retain", "forget", or a subset of the request.
        size: number of rows.
        before: of the model that the request started from.
        after: of the published model.
        change: after - before, paired by row.
    """

    name: str
    size: int
    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True, kw_only=True)
class AttackRow:
    """An attack that tells forgotten rows from unseen ones, before and after.

    Attributes:
        name: "by_class", "by_difficulty", "pool_lira" or "pool_rmia".
        forgotten: number of attacked rows.
        unseen: number of rows that they are compared with.
        auc_before: AUC on the model that the request started from; 0.5 is chance.
        auc: AUC on the published model.
        tpr_before: share of the forgotten rows that are found at a false positive rate of 1 %, on
            the model that the request started from.
        tpr: the same on the published model.
    """

    name: str
    forgotten: int
    unseen: int
    auc_before: Estimate
    auc: Estimate
    tpr_before: Estimate
    tpr: Estimate


@dataclass(frozen=True, kw_only=True)
class SingleRows:
    """Single forgotten rows against models that never saw them.

    Attributes:
        models: models in the pool.
        least: fewest models of a row that never saw it.
        threshold: score above which a row is told to be a member, for a false positive rate of 1 %.
        false_positive_rate: of the published model, measured on rows that it never saw; other rows
            set the threshold.
        before: share of the forgotten rows above the threshold, before.
        after: the same on the published model.
        standing_out: number of forgotten rows above the threshold after.
    """

    models: int
    least: int
    threshold: float
    false_positive_rate: Estimate
    before: Estimate
    after: Estimate
    standing_out: int


@dataclass(frozen=True, kw_only=True)
class DeletionBill:
    """The cost of the request, in trainings of the original.

    Attributes:
        plan: the unlearning.
        measuring: the predictions of both models, and scores that follow from them.
        reference: retrained models.
        total: the sum of these.
        prepared: cost of `rum-ray prepare`, once for all requests; 0 without it.
        break_even: first number of requests, each at this cost, from which preparing and deleting
            is cheaper than retraining per request; None if there is none.
        spent: total of all requests so far, this one included.
    """

    plan: float
    measuring: float
    reference: float
    total: float
    prepared: float
    break_even: int | None
    spent: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The state of the model after all requests.

    Attributes:
        requests: number of requests, this one included.
        forgotten: rows that were ever forgotten.
        present: those of them whose data are still there, so that they are measured.
        original: accuracy on the test set of the original model.
        now: the same of the published model.
        attack: AUC of all rows ever forgotten against unseen ones of the same class.
        due: reasons to retrain; empty if there are none.
    """

    requests: int
    forgotten: int
    present: int
    original: float
    now: float
    attack: Estimate
    due: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """A gate of the experiment file.

    Attributes:
        name: key of the gate.
        limit: largest value allowed.
        value: the measured value that is compared with the limit.
        met: True if the gate is met.
        measured: the place of the value, in words.
    """

    name: str
    limit: float
    value: float | None
    met: bool
    measured: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """evidence.json: what was asked, done and measured for one request.

    Attributes:
        format: of the file.
        name: of the experiment.
        request: number of the request, from 1.
        public: True if hashes and numbers about fewer than 10 rows are left out.
        asked: the request.
        done: the unlearning.
        accuracies: before and after.
        attacks: before and after.
        single: single rows against the pool; None without a pool.
        reference: metrics against a retrained model by name; None without one.
        not_measured: what is not measured, each with its reason.
        bill: the cost.
        drift: over all requests.
        gates: the gates, all of them met.
        start: the model that the request starts from; None in a file that does not know it.
    """

    format: Literal[1] = 1
    name: str
    request: int
    public: bool
    asked: Asked
    done: Done
    accuracies: tuple[AccuracyRow, ...]
    attacks: tuple[AttackRow, ...]
    single: SingleRows | None
    reference: Mapping[str, float] | None
    not_measured: tuple[str, ...]
    bill: DeletionBill
    drift: Drift
    gates: tuple[GateRow, ...]
    start: StartingModel | None = field(default=None, metadata=OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        tree: dict[str, Any] = to_json(self)
        return tree

    @classmethod
    def from_json(cls, tree: object) -> "Evidence":
        """Return the evidence in the plain values of an evidence.json.

        Raises:
            DataError: a key is missing or has a value of another type.
        """
        evidence: Evidence = checked(_EVIDENCE, tree, "evidence.json")
        return evidence


def checked(adapter: "TypeAdapter[Any]", tree: object, name: str) -> Any:
    """Return the value of a file of a deletion."""
    try:
        return adapter.validate_python(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise DataError(
            f"{name}: {place}: {problem['msg']}. The file is not of format 1."
        ) from error


_EVIDENCE: TypeAdapter[Evidence] = TypeAdapter(Evidence)
