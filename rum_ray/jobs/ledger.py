"""The ledger of a search: the plans that were tried, and their results by seed."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rum_ray.experiment import SearchConfig
from rum_ray.rum import Plan
from rum_ray.search.objective import INFEASIBLE, Judgement
from rum_ray.search.race import Unit, collapses
from rum_ray.search.spaces import Space, replay


@dataclass(frozen=True)
class Result:
    """The result of one unit.

    Attributes:
        judged: the metrics; None if the plan diverged.
        subsets: forget accuracy by subset; empty if the plan diverged.
    """

    judged: Judgement | None
    subsets: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Result":
        """Return the stored result of an `EvaluatePlan`."""
        if stored["status"] == "diverged":
            return cls(None)
        return cls(Judgement.read(stored), stored["subsets"])

    def plain(self) -> dict[str, Any]:
        """Return the result as an `EvaluatePlan` stores it."""
        if self.judged is None:
            return {"status": "diverged"}
        return {"status": "complete", **self.judged.plain(), "subsets": dict(self.subsets)}


@dataclass(frozen=True, eq=False)
class Trial:
    """A plan that a search has tried.

    Attributes:
        answers: one per question of the space, by name.
        plan: the plan with these answers.
        cost: of the plan, as a share of retraining.
        start: True for a plan of `search.start`.
        inherited: True for a plan that a smaller space has tried before.
        results: by search seed, as far as the plan got.
    """

    answers: Mapping[str, Any]
    plan: Plan
    cost: float
    start: bool = False
    inherited: bool = False
    results: tuple[Result, ...] = ()

    @property
    def status(self) -> str:
        """Return "diverged" if the plan diverged on some seed, else "complete"."""
        return "diverged" if None in (r.judged for r in self.results) else "complete"

    def by_seed(self, config: SearchConfig) -> list[float]:
        """Return J by seed; `INFEASIBLE` where the plan diverged."""
        return [objective(result, config) for result in self.results]

    def mean(self, name: str) -> float | None:
        """Return the mean of a metric over the seeds; None if the plan diverged."""
        return mean_of(self.results, name)

    @property
    def subsets(self) -> dict[str, float]:
        """Mean forget accuracy by subset; empty if the plan diverged."""
        if self.status == "diverged":
            return {}
        names = self.results[0].subsets
        return {n: float(np.mean([r.subsets[n] for r in self.results])) for n in names}

    def qualifies(self, config: SearchConfig) -> bool:
        """Return True if the plan may be a finalist: affordable, and fails on no seed."""
        if self.cost > config.cost_limit or self.status == "diverged":
            return False
        return not collapses(self.by_seed(config))

    def with_result(self, result: Result) -> "Trial":
        """Return the trial with the result of its next seed."""
        return dataclasses.replace(self, results=(*self.results, result))


def mean_of(results: Sequence[Result], name: str) -> float | None:
    """Return the mean of a metric; None if a plan diverged, or the metric is unknown."""
    values = [getattr(result.judged, name, None) for result in results]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def objective(result: Result, config: SearchConfig) -> float:
    """Return J of a result."""
    if result.judged is None:
        return INFEASIBLE
    return result.judged.objective(config.objective, config.attack)


@dataclass(eq=False)
class Ledger:
    """The trials of a search, and its units in the order of proposal.

    Attributes:
        trials: in the order of proposal, inherited ones first.
        units: finished ones, without those of a smaller space.
        costs: of the units, in trainings of the original.
        drawn_again: number of draws that were replaced: above the cap on cost, or known.
    """

    trials: list[Trial] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    drawn_again: int = 0

    @property
    def spent(self) -> float:
        """The cost of the units, in trainings of the original."""
        return sum(self.costs)

    def add(self, unit: Unit, cost: float, result: Result) -> None:
        """Add the result of a unit."""
        self.trials[unit.trial] = self.trials[unit.trial].with_result(result)
        self.units.append(unit)
        self.costs.append(cost)

    def first(self, limit: float) -> "Ledger":
        """Return the ledger as it was when this much was spent, in trainings of the original.

        The replaced draws are not counted.
        """
        kept, spent = Ledger(), 0.0
        for unit, cost in zip(self.units, self.costs, strict=True):
            spent += cost
            if spent > limit:
                break
            kept.units.append(unit)
            kept.costs.append(cost)
        later = Counter(unit.trial for unit in self.units[len(kept.units) :])
        for number, trial in enumerate(self.trials):
            results = trial.results[: len(trial.results) - later[number]]
            # Trials are in the order of their first units, so those without a result come last.
            if results:
                kept.trials.append(dataclasses.replace(trial, results=results))
        return kept

    def results(self, config: SearchConfig) -> list[list[float]]:
        """Return J by seed, of each trial."""
        return [trial.by_seed(config) for trial in self.trials]

    def plain(self) -> dict[str, Any]:
        """Return the ledger as plain values; `read_ledger` reads them."""
        trials = [
            {
                "answers": dict(trial.answers),
                "cost": trial.cost,
                "start": trial.start,
                "inherited": trial.inherited,
                "results": [result.plain() for result in trial.results],
            }
            for trial in self.trials
        ]
        units = [[unit.trial, unit.seed] for unit in self.units]
        return {
            "trials": trials,
            "units": units,
            "costs": self.costs,
            "drawn_again": self.drawn_again,
        }


def read_ledger(stored: Mapping[str, Any], space: Space) -> Ledger:
    """Return the ledger of a finished search in a space."""
    trials = [
        Trial(
            answers=each["answers"],
            plan=space.plan(replay(each["answers"])),
            cost=each["cost"],
            start=each["start"],
            inherited=each["inherited"],
            results=tuple(map(Result.read, each["results"])),
        )
        for each in stored["trials"]
    ]
    units = [Unit(*unit) for unit in stored["units"]]
    return Ledger(trials, units, [*stored["costs"]], stored["drawn_again"])


def inherited(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials of smaller spaces that lie in a space; each plan once, with most results.

    The order is that of the first trial of each plan.
    """
    found: dict[Plan, Trial] = {}
    for trial in trials:
        known = found.get(trial.plan)
        if known is not None and len(known.results) >= len(trial.results):
            continue
        answers = space.find(trial.plan)
        if answers is not None:
            found[trial.plan] = dataclasses.replace(
                trial, answers=answers, start=False, inherited=True
            )
    return [*found.values()]
