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
        values: one per seed; empty if the models of all seeds together make one number.
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
class RowName:
    """Another name of a row: a method whose plan is the same.

    Attributes:
        method: see `Row`.
        unlearner: for methods that use a single one.
        source: where the hyperparameters come from.
        trials: how many trials they were chosen from.
    """

    method: str
    unlearner: str | None
    source: str | None
    trials: int | None


@dataclass(frozen=True)
class Row:
    """A method of the report.

    Attributes:
        method: "retrained", "retrained_again", "original", "retrained_reordered", "vanilla",
            "shuffle", "rum_f", "best_single", "refined", "ordered", "untuned", "unjoined",
            "shuffled" or "rum".
        unlearner: for methods that use a single one.
        source: where the hyperparameters come from: "search", "file", or another reference of the
            search.
        trials: how many trials they were chosen from.
        plan: the steps in the order of unlearning; empty for models that are measured as they are.
        seeds: the reported seeds.
        metrics: by name.
        klom: by set: "forget", "retain" and "test".
        worst: the lowest J of a seed; None if J is unknown.
        collapsed: number of seeds whose J is below half of the mean; None if J is unknown.
        untuned: True for a row of `compare` that was chosen from fewer than 8 plans.
        also: other methods with the same plan, which have no rows of their own.
    """

    method: str
    unlearner: str | None
    source: str | None
    trials: int | None
    plan: tuple[PlanStep, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Metric]
    klom: Mapping[str, Klom]
    worst: float | None = None
    collapsed: int | None = None
    untuned: bool = False
    also: tuple[RowName, ...] = ()


@dataclass(frozen=True)
class Difference:
    """The lead of A over B in one metric, paired by seed.

    Attributes:
        metric: its name; of metrics that are better when lower, the sign is turned.
        mean: of the lead: above 0 where A is better.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of a paired t-test.
        p_holm: corrected over the claims of the table, in this metric (Holm).
        verdict: "shown" if A is shown to be better, "worse" if B is, else "not shown".
    """

    metric: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Claim:
    """The claim that A is better than B, paired by seed.

    Attributes:
        a: a row, or a space.
        b: another one.
        metric: that decides: the one that the search maximised.
        mean: of the lead of A over B in this metric.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of a paired t-test.
        p_holm: corrected over all claims of the table (Holm).
        shown: True if the verdict is "shown".
        verdict: "shown" if `low` is above 0 and `p_holm` below 0.05, and no other co-primary metric
            is shown against A; "shown by ToW - gap only" if one is ("shown by agreement only" if
            the search maximised agreement); "worse" if B is shown to be better by the metric that
            decides; else "not shown".
        against: the co-primary metrics by which B is shown to be better.
        by: the lead in every co-primary metric, first in the one that decides.
        detectable: the lead that a test of this claim alone finds with a probability of 80 %.
        repeats: number of forget sets; with 1, the claim is for this forget set.
        also: other pairs of names whose rows are the same, so that the claim is theirs, too.
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
    verdict: str | None = None
    against: tuple[str, ...] = ()
    by: tuple[Difference, ...] = ()
    detectable: float | None = None
    repeats: int = 1
    also: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Regret:
    """J of the oracle's plan minus J of another one, paired by seed: lower is better.

    Attributes:
        mean: of the difference in `metric`.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of a paired t-test.
        metric: the one that the search maximised.
        by: the difference in every co-primary metric, first in the one that decides.
    """

    mean: float
    low: float
    high: float
    p: float
    metric: str = "objective"
    by: tuple[Difference, ...] = ()
