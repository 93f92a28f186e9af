"""The outcome of a study: every result that a report needs, as plain values.

`results.load` reads it from the store once. All other modules of this folder are pure functions of
an `Outcome` or of its parts: they know no study, no job and no store.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices
from rum_ray.data.ids import Names
from rum_ray.evaluation.attack import Attack
from rum_ray.evaluation.tow import Evaluation
from rum_ray.experiment import EvaluateConfig, Experiment, SearchConfig
from rum_ray.jobs.embeddings import EmbeddingStatistics
from rum_ray.results.schema import (
    DataSummary,
    Environment,
    ExperimentSummary,
    FinalistSummary,
    Pick,
    PlanStep,
    StageSummary,
)
from rum_ray.scores.base import Scores
from rum_ray.scores.entanglement import Moments
from rum_ray.scores.memorization import InOutCounts, PoolBits


@dataclass(frozen=True, eq=False)
class Pool:
    """The leave-k-out models whose scores choose the forget set.

    Attributes:
        models: number of models.
        halves: counts of the models at even and at odd places.
        held_out: number of other models, which the reference "pool" asks.
        statistics: precision of memorization by rule; see `study.pool_size.PoolSize`.
        reached: True if the pool is as precise as asked.
    """

    models: int
    halves: tuple[InOutCounts, ...]
    held_out: int
    statistics: Mapping[str, float]
    reached: bool


@dataclass(frozen=True, eq=False)
class Examples:
    """The training examples and their scores.

    Attributes:
        experiment: the study's experiment.
        ids: [N] in the data source.
        names: [N] names in the data source; None if examples have row numbers only.
        labels: [N] int64.
        true_labels: [N] int64; None if unknown.
        flipped: [N] bool, True where the label is known to be wrong; None if unknown.
        classes: number of classes.
        scores: difficulty scores; NaN where unknown.
        proxies: [runs, N] by name.
        pool: None if the scores are not those of a pool.
        cost: of all models that score, in trainings of the original.
    """

    experiment: Experiment
    ids: NDArray[np.int64]
    names: Names | None
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    flipped: NDArray[np.bool_] | None
    classes: int
    scores: Scores
    proxies: Mapping[str, NDArray[np.float64]]
    pool: Pool | None
    cost: float


@dataclass(frozen=True, eq=False)
class ForgetSet:
    """The forget set, its subsets, and their embeddings.

    Attributes:
        rows: of the training set.
        subsets: rows by name, in the order of unlearning.
        by_distance: True if distances in embedding space decided the choice.
        embedded: sums of embeddings, one per reported seed.
        pool: bits of the models that choose the set, on its examples; None if scores of a pool do
            not choose it.
    """

    rows: Indices
    subsets: Mapping[str, Indices]
    by_distance: bool
    embedded: tuple[EmbeddingStatistics, ...]
    pool: PoolBits | None


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models of a plan: models of the pool that forgot by it.

    Attributes:
        logits: [M, S] logit p_y of the forget set.
        forgotten: [M, S] bool, model m had learned example n.
        cost: of the plan on all models, in trainings of the original.
    """

    logits: NDArray[np.float64]
    forgotten: NDArray[np.bool_]
    cost: float


@dataclass(frozen=True, eq=False)
class Method:
    """A measured method.

    Attributes:
        name: "retrained", "rum" and so on; see `results.schema.Row`.
        unlearner: for methods that use a single one.
        source: of the hyperparameters.
        trials: number of trials that they were chosen from.
        plan: the steps; empty for models that are measured as they are.
        evaluations: one per reported seed.
        moments: of "retain" and of each subset, by seed; empty if the weights are not kept or
            residuals are not asked for.
        streamed: number of models that were embedded for `moments` alone.
        shadows: None if no attack needs them, or the weights are not kept.
    """

    name: str
    unlearner: str | None
    source: str | None
    trials: int | None
    plan: tuple[PlanStep, ...]
    evaluations: tuple[Evaluation, ...]
    moments: tuple[Mapping[str, Moments], ...]
    streamed: int
    shadows: Shadows | None


@dataclass(frozen=True, eq=False)
class PoolAnswers:
    """Logit p_y of the models of the pool.

    Attributes:
        sets: logits and inclusion, each [M, S], of "forget" and of a sample of "retain".
        unseen: logits [M, T] of the non-members.
    """

    sets: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]
    unseen: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured methods.

    Attributes:
        config: the settings of the evaluation.
        attacks: of `evaluate.also`.
        seeds: the reported seeds.
        subsets: names of the subsets.
        methods: retrained, retrained again and original models first.
        pool: None if no attack needs the answers of the pool.
    """

    config: EvaluateConfig
    attacks: tuple[Attack, ...]
    seeds: tuple[int, ...]
    subsets: tuple[str, ...]
    methods: tuple[Method, ...]
    pool: PoolAnswers | None


@dataclass(frozen=True)
class Trial:
    """A trial of a search; None where a plan was not run or has no objective.

    Attributes:
        start: True if `search.start` gave the plan.
        inherited: True if the search of a smaller space has tried it before.
        status: "complete" or "diverged".
        objective: mean of J over the seeds; -1 on a seed where the plan diverged.
        tow: mean over the seeds.
        auc_gap: gap of the AUC attack.
        svm_gap: gap of the SVM attack.
        examples: agreement with the reference; see `search.objective.Judgement`.
        cost: as a share of retraining.
        by_seed: J per search seed, as far as the plan got.
        subsets: forget accuracy by subset.
        plan: the steps.
        seconds: of the trial; None if unknown.
        steps_run: steps over all seeds.
        cache_hits: steps whose models were in the store.
    """

    start: bool
    inherited: bool
    status: str
    objective: float
    tow: float | None
    auc_gap: float | None
    svm_gap: float | None
    examples: float | None
    cost: float
    by_seed: tuple[float, ...]
    subsets: Mapping[str, float]
    plan: tuple[PlanStep, ...]
    seconds: float | None
    steps_run: int | None
    cache_hits: int | None


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """A finished search.

    Attributes:
        name: of its stage: "V4", or "V4 surrogate" for another reference.
        method: of its row: "rum" for the last space.
        label: of the search in report.json.
        space: "V0" to "V5".
        config: budget, cap and attack.
        cost_limit: cap on the cost of a pick, as a share of retraining.
        starts: number of trials that `search.start` gave.
        trials: in order.
        drawn_again: proposals above the cap or known ones, which were replaced.
        pick: the plan that was found.
        finalists: the plans that were compared on fresh seeds, best first.
        spent: cost of the units, in trainings of the original.
        whole: the same, with the parts of smaller spaces from which the search started.
        cost: of all units and finalists, in trainings of the original.
    """

    name: str
    method: str
    label: str
    space: str
    config: SearchConfig
    cost_limit: float
    starts: int
    trials: tuple[Trial, ...]
    drawn_again: int
    pick: Pick
    finalists: tuple[FinalistSummary, ...]
    spent: float
    whole: float
    cost: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of a finished study.

    Attributes:
        experiment: the study's experiment.
        identity: name, digest and YAML of the experiment.
        environment: versions and hardware.
        data: sizes, classes and label noise.
        examples: scores.
        forget: the forget set.
        measured: the methods.
        searches: in their order; empty without a search.
        ranges: cost of the range tests of learning rates, in trainings of the original.
        tuning: cost of the searches of the rows of `compare`, in trainings of the original.
        references: trainings of the models that each reference of the search is made of.
        originals: originals of the search seeds.
        stages: wall time by stage.
    """

    experiment: Experiment
    identity: ExperimentSummary
    environment: Environment
    data: DataSummary
    examples: Examples
    forget: ForgetSet
    measured: Measured
    searches: tuple[SearchOutcome, ...]
    ranges: float
    tuning: float
    references: Mapping[str, int]
    originals: int
    stages: tuple[StageSummary, ...]
