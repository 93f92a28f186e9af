"""The search for plans: the section `search` of an experiment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import ALIASES, SpaceKey
from rum_ray.training.recipe import check_positive
from rum_ray.unlearning import Retrain, Unlearner

ReferenceName: TypeAlias = Literal["oracle", "surrogate", "pool"]


@dataclass(frozen=True)
class SearchConfig:
    """Settings of the searches, shared by all spaces.

    Attributes:
        trials: trials per space; each trial evaluates one plan.
        spaces: spaces to search, by number (V0 to V4) or by name (single, refined, ordered,
            assigned, rum). The plan of RUM is chosen in the last one, in the order V0 to V4.
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
        also: further references, each with another search of the last space. The report adds a row
            per plan, and its regret against the oracle's plan. With "pool", half of the models
            score the examples, so the forget set differs.
        attack: attack of the objective, "auc" or "svm" (the paper's).
        max_cost: largest cost of a plan in the search, as a share of retraining.
        pick: cost limit of the chosen plan, such as "cost<=0.2": choose only among trials within
            this cost. Does not affect the search itself.
        seed: seed of the search, of its models too.
        batch: trials proposed at a time, for any number of workers.
        seeds: number of search seeds: runs averaged per trial, and models in the reference.
    """

    trials: int = 32
    spaces: tuple[SpaceKey, ...] = ("V0", "V1", "V4")
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
    attack: Literal["auc", "svm"] = "auc"
    max_cost: float = 0.5
    pick: str | None = None
    seed: int = 0
    batch: int = 4
    seeds: int = 3

    def __post_init__(self) -> None:
        check_positive(self, "trials", "max_cost", "batch")
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
        if not 0 < self.budget <= self.max_cost:
            raise ValueError(
                "pick must be cost<=X, with X above 0 and at most max_cost, "
                f"got '{self.pick}' with max_cost {self.max_cost:g}"
            )
        if not len({*self.start}) == len(self.start) <= self.trials:
            raise ValueError(
                f"start must name each plan once, and at most `trials` plans, got {[*self.start]}"
            )

    def check_steps(self, subsets: Sequence[str]) -> None:
        """Raise ConfigError if `steps` has a subset that is not one of these."""
        for subset in self.steps:
            if subset not in subsets:
                known = did_you_mean(subset, subsets)
                raise ConfigError(f"search.steps: unknown subset '{subset}'. {known}")

    @property
    def budget(self) -> float:
        """Cost limit of the chosen plan; 0 if `pick` cannot be parsed."""
        if self.pick is None:
            return self.max_cost
        match = re.fullmatch(r"cost *<= *(\d*\.?\d+)", self.pick.strip())
        return float(match[1]) if match else 0.0

    @property
    def references(self) -> tuple[ReferenceName, ...]:
        """All references; the first is that of the reported plan."""
        return (self.reference, *self.also)


def _numbered(spaces: Sequence[SpaceKey]) -> tuple[SpaceKey, ...]:
    """Return spaces as V0 to V4; ValueError if some have a name and others a number."""
    named = [space for space in spaces if space in ALIASES]
    if 0 < len(named) < len(spaces):
        raise ValueError(
            f"spaces mixes numbers (V0 to V4) and names ({', '.join(ALIASES)}), got {[*spaces]}. "
            "Use one of the two."
        )
    return tuple(ALIASES.get(space, space) for space in spaces)
