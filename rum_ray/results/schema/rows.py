"""The rows of the table: methods, their metrics, and claims about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

OPTIONAL: Mapping[str, bool] = {"optional": True}
"""Metadata of a field that report.json leaves out where it is None."""

Numbers: TypeAlias = tuple[float | None, ...]


@dataclass(frozen=True)
class Metric:
    """A metric of one row or subset over the reported seeds.

    Attributes:
        mean: over seeds; None if it cannot be measured.
        ci95: half of the 95 % interval of the mean; None for one seed.
        values: one per seed.
        mean_absolute: of a gap, the mean of |difference|; never below `mean`.
        errors: of an estimate, its standard error per seed.
        reason: why there is no mean.
    """

    mean: float | None
    ci95: float | None = None
    values: Numbers = ()
    mean_absolute: float | None = field(default=None, metadata=OPTIONAL)
    errors: Numbers | None = field(default=None, metadata=OPTIONAL)
    reason: str | None = field(default=None, metadata=OPTIONAL)

    @classmethod
    def missing(cls, reason: str, values: Numbers = ()) -> "Metric":
        """Return a metric that cannot be measured, and why."""
        return cls(None, None, values, reason=reason)


@dataclass(frozen=True)
class Klom:
    """KLoM of one set of examples: all seeds together make one number per example.

    Attributes:
        mean: over the examples, in nats; None if there are too few seeds.
        p95: 95th percentile over the examples.
        reason: why there is no mean.
    """

    mean: float | None
    p95: float | None
    reason: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PlanStep:
    """A step of a plan.

    Attributes:
        subset: its name.
        unlearner: `name`, and its hyperparameters by name.
    """

    subset: str
    unlearner: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The unlearner's name."""
        return str(self.unlearner["name"])

    @property
    def settings(self) -> dict[str, Any]:
        """The unlearner's hyperparameters, without those that are None."""
        known = self.unlearner.items()
        return {key: value for key, value in known if key != "name" and value is not None}


@dataclass(frozen=True)
class Row:
    """A method of the report.

    Attributes:
        method: "retrained", "retrained_again", "original", "vanilla", "shuffle", "rum_f",
            "best_single", "refined", "ordered", "untuned", "shuffled" or "rum".
        unlearner: for methods that use a single one.
        source: where the hyperparameters come from: "search", "file", or another reference of the
            search.
        trials: how many trials they were chosen from.
        plan: the steps in the order of unlearning; empty for models that are measured as they are.
        seeds: the reported seeds.
        metrics: by name.
        klom: by set: "forget", "retain" and "test".
    """

    method: str
    unlearner: str | None
    source: str | None
    trials: int | None
    plan: tuple[PlanStep, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Metric]
    klom: Mapping[str, Klom]


@dataclass(frozen=True)
class Claim:
    """The claim that A is better than B, paired by seed.

    Attributes:
        a: a row, or a space.
        b: another one.
        metric: that decides.
        mean: of A - B.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of a paired t-test.
        p_holm: corrected over all claims of the table (Holm).
        shown: True if `low` is above 0 and `p_holm` below 0.05.
    """

    a: str
    b: str
    metric: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    shown: bool


@dataclass(frozen=True)
class Regret:
    """J of the oracle's plan minus J of another one, paired by seed: lower is better."""

    mean: float
    low: float
    high: float
    p: float
