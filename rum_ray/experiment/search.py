"""The search for plans: the section `search` of an experiment."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import AttackName, ObjectiveName
from rum_ray.search.spaces import ALIASES, SpaceKey
from rum_ray.training.recipe import check_positive
from rum_ray.unlearning import Retrain, Unlearner

ReferenceName: TypeAlias = Literal["oracle", "surrogate", "pool"]


@dataclass(frozen=True)
class SearchConfig:
    """Settings of the searches, shared by all spaces.

    Attributes:
        budget: cost of the trials per space, in trainings of the original; an evaluation counts as
            a third of its examples. By default 22, unless `trials` is set.
        trials: number of plans per space, instead of a budget.
        spaces: spaces to search, by number (V0 to V5) or by name (single, refined, ordered,
            assigned, rum, joined). The plan of RUM is chosen in the last one, in the order V0 to
            V5. A space starts from the trials of the smaller ones that it contains. V0, the best
            single unlearner, gets the sum of all budgets.
        unlearners: candidate unlearners, with the parts of their domains to search.
        steps: fixed unlearner per subset, in every space with subsets.
        grid: grid size of the numeric hyperparameters of the first active step (searched, and not
            "nothing"), unless it is the last step. A coarse first step makes plans share prefixes,
            which are cached. Grid values are midpoints of equal cells. Null is continuous.
        front: propose trials for a low cost as well as for a good objective. The search then finds
            plans for many budgets, at a slightly lower objective for each.
        sampler: "tpe" learns from finished trials; "random" does not, and serves as control.
        start: plans of the first trials, in every space that contains them: "plan" for the plan of
            the experiment, or a file such as plan.yaml. They count towards `trials`.
        reference: the models that plans are compared with. "oracle": models retrained without the
            forget set, on search seeds. With those models at hand, unlearning would be unnecessary,
            so this is an upper bound. "surrogate": models retrained without a matched set of retain
            examples; plans unlearn that set instead of the forget set. "pool": no retrained model,
            but the predictions of leave-k-out models for examples they were not trained on.
        also: further references, each with searches of its own. The report adds a row for the plan
            of the last space, and its regret against the oracle's plan. With "pool", half of the
            models score the examples, so the forget set differs.
        objective: "tow_gap" is ToW minus the gap of the attack. "examples" is the agreement with
            the models of the reference, example by example; it needs a reference other than "pool".
        attack: attack of the objective, "auc" or "svm" (the paper's).
        max_cost: largest cost of a plan in the search, as a share of retraining.
        pick: cost limit of the chosen plan, such as "cost<=0.2": choose only among trials within
            this cost. Does not affect the search itself.
        seed: seed of the search, of its models too.
        batch: units proposed at a time, each a plan on one seed, for any number of workers.
        seeds: number of search seeds, and of models in the reference. Only the best third of the
            plans is tried on more than one.
        finalists: number of plans that are compared on fresh seeds.
        fresh: number of fresh seeds.
        rows: plans per row of `compare`: each unlearner is tuned alike on the whole forget set, on
            its subsets, and on random subsets. With fewer than 8, a row counts as untuned.
    """

    budget: float | None = None
    trials: int | None = None
    spaces: tuple[SpaceKey, ...] = ("V0", "V5")
    unlearners: tuple[Candidate, ...] = tuple(
        map(Candidate, ("nothing", "finetune", "neggrad+", "salun"))
    )
    steps: Mapping[str, Unlearner] = field(default_factory=dict)
    grid: int | None = None
    front: bool = False
    sampler: Literal["tpe", "random"] = "tpe"
    start: tuple[str, ...] = ()
    reference: ReferenceName = "oracle"
    also: tuple[ReferenceName, ...] = ()
    objective: ObjectiveName = "tow_gap"
    attack: AttackName = "auc"
    max_cost: float = 0.5
    pick: str | None = None
    seed: int = 0
    batch: int = 12
    seeds: int = 3
    finalists: int = 6
    fresh: int = 5
    rows: int = 8

    def __post_init__(self) -> None:
        check_positive(self, "max_cost", "batch", "finalists", "fresh", "rows")
        self._check_limit()
        if self.objective == "examples" and "pool" in self.references:
            raise ValueError(
                "objective must be tow_gap with the reference pool, which has no retrained model "
                "to agree with; got examples"
            )
        if self.seeds < 3:
            raise ValueError(f"seeds must be at least 3, got {self.seeds}")
        numbers = _numbered(self.spaces)
        if len({*numbers}) < len(numbers) or {*numbers} <= {"V0"}:
            raise ValueError(
                f"spaces must name each once, and one besides V0 (single), got {[*self.spaces]}"
            )
        object.__setattr__(self, "spaces", numbers)
        if self.grid is not None and self.grid < 2:
            raise ValueError(f"grid must be at least 2, got {self.grid}")
        names = [candidate.name for candidate in self.unlearners]
        if not names or len({c.kind for c in self.unlearners}) < len(names):
            raise ValueError(f"unlearners must name at least one, and each once, got {names}")
        if any(isinstance(step, Retrain) for step in self.steps.values()):
            raise ValueError("steps must be any unlearner but retrain, the reference of a search")
        if len({self.reference, *self.also}) < 1 + len(self.also):
            raise ValueError(
                "also must name each reference once, without the key `reference`, "
                f"got {list(self.also)} beside '{self.reference}'"
            )
        if not 0 < self.cost_limit <= self.max_cost:
            raise ValueError(
                "pick must be cost<=X, with X above 0 and at most max_cost, "
                f"got '{self.pick}' with max_cost {self.max_cost:g}"
            )
        if not len({*self.start}) == len(self.start) <= (self.trials or math.inf):
            raise ValueError(
                f"start must name each plan once, and at most `trials` plans, got {[*self.start]}"
            )

    @property
    def kinds(self) -> list[type[Unlearner]]:
        """The classes of the candidates and of the fixed steps."""
        return [*(each.kind for each in self.unlearners), *map(type, self.steps.values())]

    def _check_limit(self) -> None:
        """Set the default budget; raise ValueError if the limits contradict each other."""
        if self.budget is not None and self.trials is not None:
            raise ValueError(
                f"trials and budget are two ways to limit a search; give one, got {self.trials} "
                f"and {self.budget:g}"
            )
        if self.budget is None and self.trials is None:
            object.__setattr__(self, "budget", 22.0)
        check_positive(self, "budget" if self.trials is None else "trials")
        if self.trials is not None and self.finalists > self.trials:
            raise ValueError(
                f"finalists must be at most `trials`, got {self.finalists} of {self.trials} trials"
            )

    def check_steps(self, subsets: Sequence[str]) -> None:
        """Raise ConfigError if `steps` has a subset that is not one of these."""
        for subset in self.steps:
            if subset not in subsets:
                known = did_you_mean(subset, subsets)
                raise ConfigError(f"search.steps: unknown subset '{subset}'. {known}")

    @property
    def cost_limit(self) -> float:
        """Cost limit of the chosen plan; 0 if `pick` cannot be parsed."""
        if self.pick is None:
            return self.max_cost
        match = re.fullmatch(r"cost *<= *(\d*\.?\d+)", self.pick.strip())
        return float(match[1]) if match else 0.0

    @property
    def size(self) -> str:
        """The limit of each search in words."""
        return f"{self.trials} trials" if self.trials else f"{self.budget:g} trainings"

    def times(self, factor: int) -> "SearchConfig":
        """Return the settings of a search with a multiple of the budget."""
        if self.trials is not None:
            return replace(self, trials=self.trials * factor)
        assert self.budget is not None
        return replace(self, budget=self.budget * factor)

    @property
    def references(self) -> tuple[ReferenceName, ...]:
        """All references; the first is that of the reported plan."""
        return (self.reference, *self.also)


def _numbered(spaces: Sequence[SpaceKey]) -> tuple[SpaceKey, ...]:
    """Return spaces as V0 to V5; ValueError if some have a name and others a number."""
    named = [space for space in spaces if space in ALIASES]
    if 0 < len(named) < len(spaces):
        raise ValueError(
            f"spaces mixes numbers (V0 to V5) and names ({', '.join(ALIASES)}), got {[*spaces]}. "
            "Use one of the two."
        )
    return tuple(ALIASES.get(space, space) for space in spaces)
