"""The examples: difficulty scores, subsets of the forget set, and their entanglement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from rum_ray.results.schema.rows import OPTIONAL, Metric, Numbers


@dataclass(frozen=True)
class ProxySummary:
    """A proxy, compared with the score.

    Attributes:
        spearman: rank correlation with the score, mean over runs.
        ci95: half of its 95 % interval over runs.
        values: one per run.
        low: lower end of its 95 % interval over examples.
        high: upper end.
        same_subset: share of the forget set that the proxy puts into the same subset.
        reason: why there is no correlation.
    """

    spearman: float | None
    ci95: float | None
    values: Numbers
    low: float | None
    high: float | None
    same_subset: Metric
    reason: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PrecisionSummary:
    """The precision of memorization that was asked for, and the one that was reached."""

    rule: str
    goal: float
    value: float | None
    max: int
    reached: bool


@dataclass(frozen=True)
class ScoreSummary:
    """The difficulty scores, and how reliable they are.

    Attributes:
        name: of the score.
        models: leave-k-out models; None if the scores are not those of a pool.
        fraction: share of D that each is trained on.
        split_half: Spearman-Brown reliability of two halves of the pool.
        changed_share: share of the forget set that other models would put into another subset.
        precision: asked for and reached; None if a number of models was given.
        standard_error: mean over the examples.
        auc_flipped: AUC of the score for labels that are known to be wrong.
        unknown: examples without a score.
        proxies: by name.
    """

    name: str
    models: int | None
    fraction: float | None
    split_half: float | None
    changed_share: float | None
    precision: PrecisionSummary | None
    standard_error: float | None
    auc_flipped: float | None
    unknown: int
    proxies: Mapping[str, ProxySummary]
    split_half_reason: str | None = field(default=None, metadata=OPTIONAL)
    changed_share_reason: str | None = field(default=None, metadata=OPTIONAL)
    standard_error_reason: str | None = field(default=None, metadata=OPTIONAL)
    auc_flipped_reason: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class SubsetSummary:
    """A subset of the forget set.

    Attributes:
        name: of the subset.
        size: examples.
        score: mean; None if an example has none, like the lowest and the highest.
        score_low: the lowest.
        score_high: the highest.
        flipped: labels that are known to be wrong; None if no true labels are known.
        classes: examples per class.
        entanglement_score: with the midpoint of the two centroids as centre.
        entanglement_score_pooled: with the pooled centroid.
        mmd: with gamma = 1.
        mmd_median: with the median bandwidth.
        two_sample_auc: of a linear probe between the subset and the retain set.
    """

    name: str
    size: int
    score: float | None
    score_low: float | None
    score_high: float | None
    flipped: int | None
    classes: tuple[int, ...]
    entanglement_score: Metric
    entanglement_score_pooled: Metric
    mmd: Metric
    mmd_median: Metric
    two_sample_auc: Metric


@dataclass(frozen=True)
class Entanglement:
    """Rank correlation of MMD with the entanglement score over the subsets, by kind of MMD."""

    spearman_with_entanglement_score: Mapping[str, Metric] | None = field(
        default=None, metadata=OPTIONAL
    )


@dataclass(frozen=True)
class ForgetSummary:
    """The forget set.

    Attributes:
        size: examples.
        pick: "low", "medium", "high", "spread", "random", "class" or "ids".
        by: "score" or "entanglement"; left out for listed ids.
        label: the class that it was chosen from; the key is `class`.
        classes: examples per class.
    """

    size: int
    pick: str
    classes: tuple[int, ...]
    by: str | None = field(default=None, metadata=OPTIONAL)
    label: Annotated[int | str | None, Field(alias="class")] = field(
        default=None, metadata={"key": "class"}
    )
