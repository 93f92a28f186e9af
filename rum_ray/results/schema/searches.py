"""The searches: budgets, picks, the ladder of spaces, and references."""

from dataclasses import dataclass

from rum_ray.results.schema.rows import Claim, Metric, Numbers, PlanStep, Regret


@dataclass(frozen=True)
class Pick:
    """The plan that a search picked.

    Attributes:
        plan: the steps.
        objective: J on the search seeds.
        validated: J on the fresh seeds: the expected value of the plan.
        cost: as a share of retraining.
    """

    plan: tuple[PlanStep, ...]
    objective: float
    validated: float
    cost: float


@dataclass(frozen=True)
class FinalistSummary:
    """A plan that was compared with others on fresh seeds.

    Attributes:
        plan: the steps.
        cost: as a share of retraining.
        objective: J on the search seeds.
        validated: J on the fresh seeds.
        worst: the lowest J of a fresh seed.
        tow: mean on the fresh seeds; None if the plan diverged.
        auc_gap: gap of the AUC attack on the fresh seeds.
        svm_gap: gap of the SVM attack on the fresh seeds.
        examples: agreement with the reference on the fresh seeds; None without retrained models.
        dropped: reason why it cannot be picked; None if it can.
    """

    plan: tuple[PlanStep, ...]
    cost: float
    objective: float
    validated: float
    worst: float
    tow: float | None
    auc_gap: float | None
    svm_gap: float | None
    examples: float | None
    dropped: str | None


@dataclass(frozen=True)
class FrontPoint:
    """A trial on the Pareto front: no cheaper one is as good."""

    objective: float
    cost: float
    plan: tuple[PlanStep, ...]
    trial: int


@dataclass(frozen=True)
class SearchSummary:
    """A search: its budget, its trials and its pick.

    Attributes:
        name: what the row of its pick is called.
        space: "V0" to "V5".
        sampler: "tpe" or "random".
        trials: plans that were tried, those of smaller spaces included.
        starts: how many of them were given by `search.start`.
        objective: what was maximised.
        split: on which data.
        attack: whose gap was subtracted.
        reference: "oracle", "surrogate" or "pool".
        max_cost: cap on the cost of a plan, as a share of retraining.
        pick: the rule of `search.pick`.
        seconds: of the search; None if an earlier run made it elsewhere.
        complete: trials that have an objective.
        infeasible: trials that cost more than the cap: none, since they are replaced.
        drawn_again: proposals above the cap or known ones, which were replaced.
        diverged: trials that diverged.
        best: the pick.
        front: the Pareto front, by rising cost.
        expected_best: the best J that 1, 2, ... trials can be expected to reach.
        inherited: how many of the trials smaller spaces had tried before.
        budget: limit of the cost, in trainings of the original; None for a number of trials.
        spent: cost of the units of this space, in trainings of the original; None if unknown.
        whole: the same, with the parts of smaller spaces from which the search started.
        finalists: the plans that were compared on fresh seeds, best first.
    """

    name: str
    space: str
    sampler: str
    trials: int
    starts: int
    objective: str
    split: str
    attack: str
    reference: str
    max_cost: float
    pick: str | None
    seconds: float | None
    complete: int
    infeasible: int
    drawn_again: int
    diverged: int
    best: Pick
    front: tuple[FrontPoint, ...]
    expected_best: Numbers
    inherited: int = 0
    budget: float | None = None
    spent: float | None = None
    whole: float | None = None
    finalists: tuple[FinalistSummary, ...] = ()


@dataclass(frozen=True)
class Rung:
    """A space of the ladder, measured on the reported seeds and on test data.

    Attributes:
        space: "V0" to "V5", or "shuffle" for the plan of V1 on random subsets.
        method: of its row.
        trials: of its search.
        objective: J of its plan.
        tow: of its plan.
        cost: of its plan, as a share of retraining.
        whole: cost of its search and of the parts of smaller spaces from which it started, in
            trainings of the original; None for the control.
        searched: the metric that decides, of its plan; None if it is unknown.
    """

    space: str
    method: str
    trials: int
    objective: Metric
    tow: Metric
    cost: Metric
    whole: float | None = None
    searched: Metric | None = None


@dataclass(frozen=True)
class Ladder:
    """The spaces that were searched, from the smallest, and the claims about them."""

    rungs: tuple[Rung, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class ReferenceSummary:
    """A reference that plans were judged against, and the worth of the plan it led to.

    Attributes:
        reference: "oracle", "surrogate" or "pool".
        main: True for the reference of the report's plan.
        trials: of its search.
        trainings: models that were trained for it, in trainings of the original.
        objective: J of its plan on the reported seeds and on test data.
        regret: against the oracle's plan, by the metric that decides; None for the oracle, and with
            fewer than three seeds.
    """

    reference: str
    main: bool
    trials: int | None
    trainings: int
    objective: Metric
    regret: Regret | None
