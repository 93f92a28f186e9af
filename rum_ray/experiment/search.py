"""What the searches may do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import SpaceName
from rum_ray.training.recipe import check_positive
from rum_ray.unlearning import Retrain, Unlearner

ReferenceName: TypeAlias = Literal["oracle", "surrogate", "pool"]


@dataclass(frozen=True)
class SearchConfig:
    """What the searches may do, the same for each space.

    Attributes:
        trials: plans that are tried in each space.
        spaces: which are searched; the pick of the last one, in their order, is the plan of RUM.
        unlearners: what may be chosen, and what of its domains.
        steps: unlearners that are fixed, by subset, in every space that has subsets.
        grid: how many values each number of the first step that is searched, and is not "nothing",
            may have, where others follow it, so that plans begin alike: the middles of equal parts
            of its domain. Null is any value.
        front: whether trials are proposed for a low cost, too, and not for a good objective alone:
            what is found then are plans for many budgets, and a little less for each.
        sampler: "tpe" learns from the trials; "random" does not, and is the control.
        start: plans that are tried first, in every space that has them: "plan", the experiment's
            own, or a file such as plan.yaml. They count as trials.
        reference: what the search may know. "oracle": models retrained without the forget set, on
            search seeds: an upper bound, since who has them need not unlearn. "surrogate": models
            retrained without a matched set of retain examples, on which plans are tried in place of
            the forget set. "pool": no retrained model, but what the leave-k-out models that did
            not learn an example say of it.
        also: other references, with which the last space is searched, too; their plans' rows, and
            their regret against the oracle's plan, stand beside. With "pool", half of the models
            score the examples, so the forget set is another one.
        attack: whose gap counts in the objective: "auc", or the paper's "svm".
        max_cost: cap on a plan's cost, as a share of retraining.
        pick: such as "cost<=0.2": plans are chosen among trials that cost at most so much. It
            changes no trial.
        seed: root of all draws of the search, models included.
        batch: trials that are proposed at a time, whatever the number of workers.
        seeds: search seeds that each trial is averaged over, and models in the reference.
    """

    trials: int = 32
    spaces: tuple[SpaceName, ...] = ("V0", "V1", "V4")
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
        if len({*self.spaces}) < len(self.spaces) or {*self.spaces} <= {"V0"}:
            raise ValueError(
                f"spaces must name each once, and one besides V0, got {list(self.spaces)}"
            )
        if self.grid is not None and self.grid < 2:
            raise ValueError(f"grid must be at least 2, got {self.grid}")
        names = [candidate.name for candidate in self.unlearners]
        if not names or len({c.kind for c in self.unlearners}) < len(names):
            raise ValueError(f"unlearners must name at least one, and each once, got {names}")
        if any(isinstance(step, Retrain) for step in self.steps.values()):
            raise ValueError("steps must be without retrain, which a search is judged against")
        if len({self.reference, *self.also}) < 1 + len(self.also):
            raise ValueError(
                "also must name each reference once, without the one that counts, "
                f"got {list(self.also)} beside '{self.reference}'"
            )
        if not 0 < self.budget <= self.max_cost:
            raise ValueError(
                "pick must be cost<=X, with X above 0 and at most max_cost, "
                f"got '{self.pick}' with max_cost {self.max_cost:g}"
            )
        if not len({*self.start}) == len(self.start) <= self.trials:
            raise ValueError(
                f"start must name each plan once, and no more than there are trials, "
                f"got {list(self.start)}"
            )

    def check_steps(self, subsets: Sequence[str]) -> None:
        """Raise ConfigError if a step is fixed for a subset that is not one of these."""
        for subset in self.steps:
            if subset not in subsets:
                known = did_you_mean(subset, subsets)
                raise ConfigError(f"search.steps: unknown subset '{subset}'. {known}")

    @property
    def budget(self) -> float:
        """What a plan that is picked may cost; 0 if `pick` says nothing that is known."""
        if self.pick is None:
            return self.max_cost
        found = re.fullmatch(r"cost *<= *(\d*\.?\d+)", self.pick.strip())
        return float(found[1]) if found else 0.0

    @property
    def references(self) -> tuple[ReferenceName, ...]:
        """The references that are asked for, the one that counts first."""
        return (self.reference, *self.also)
