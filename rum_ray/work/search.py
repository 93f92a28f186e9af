"""One search: its space, its budget, and what its trials found."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rum_ray.errors import StalledError
from rum_ray.experiment import SearchConfig, plan_as_dicts
from rum_ray.rum import Plan
from rum_ray.search.spaces import Space
from rum_ray.store import Artifact, Key
from rum_ray.training.space import Domain, LogUniform, Uniform
from rum_ray.work.base import Context
from rum_ray.work.judge import Evaluate, TryPlan
from rum_ray.work.prefix import PREFIX, UnlearnedPrefix
from rum_ray.work.train import TrainModel

FINALISTS = 3
FRESH_SEEDS = 2

Trial = dict[str, Any]
"""What the ledger has of a trial: answers, plan, whether the search was told to start with it,
status, objective, tow, gap, cost, by_seed."""


@dataclass(frozen=True, eq=False)
class Search:
    """A space, and how its plans are judged.

    Attributes:
        space: what may be proposed.
        config: budget, cap and attack.
        originals: one a search seed, and the fresh ones at the end.
        references: retrained models of the search seeds, evaluated on validation data.
        starts: plans of the space that are tried first.
    """

    space: Space
    config: SearchConfig
    originals: tuple[TrainModel, ...]
    references: tuple[Evaluate, ...]
    starts: tuple[Plan, ...] = ()

    @property
    def name(self) -> str:
        """The space's name."""
        return self.space.name

    def key(self, context: Context) -> Key:
        """Return the key of the finished search."""
        domains = {candidate.name: candidate.domains for candidate in self.space.candidates}
        # Which other spaces are searched, and where plans come from, changes nothing.
        config = dataclasses.replace(self.config, spaces=SearchConfig.spaces, start=())
        search = dataclasses.replace(self, config=config)
        made_of = {"search": search, "domains": domains, "valid": context.unseen("valid")}
        return Key("search", {**made_of, **context.learned})

    def proposed(self, answers: Mapping[str, Any]) -> TryPlan:
        """Return the job that judges what a trial's answers make, sharing what others may have."""
        return dataclasses.replace(self.trial(self.plan(answers)), shared=self.shared(answers))

    def trial(self, plan: Plan, fresh: bool = False) -> TryPlan:
        """Return the job that judges a plan, on the search seeds or on the fresh ones."""
        originals = self.originals[-FRESH_SEEDS:] if fresh else self.originals[:-FRESH_SEEDS]
        return TryPlan(plan, originals, self.references, self.config.attack, self.config.max_cost)

    def shared(self, answers: Mapping[str, Any]) -> int:
        """Return how many of a plan's first steps other trials may have, too.

        A value from a continuous range comes but once. So these are the steps that stay as they are
        when each such value moves to the number beside it; one that is rounded to a grid stays.
        """

        def moved(name: str, domain: Domain) -> Any:
            if not isinstance(domain, Uniform | LogUniform):
                return answers[name]
            end = domain.low if answers[name] > domain.low else domain.high
            return math.nextafter(answers[name], end)

        steps = zip(self.plan(answers).steps, self.space.plan(moved).steps, strict=True)
        return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], steps))

    def plan(self, answers: Mapping[str, Any]) -> Plan:
        """Return the plan that a trial's answers make."""
        return self.space.plan(lambda name, _: answers[name])

    def save(self, context: Context, proposals: list[Mapping[str, Any]]) -> None:
        """Keep a finished search: its proposals in order, with what each was judged.

        Prefixes are of no use any more. All that lie in the store go, those of searches that were
        killed, too; another that runs just now makes again what it needs.
        """
        trials = []
        for number, answers in enumerate(proposals):
            plan = self.plan(answers)
            judged = context.load(self.trial(plan)).value
            proposal = {"answers": dict(answers), "plan": plan_as_dicts(plan)}
            trials.append({**proposal, "start": number < len(self.starts), **judged})
        context.store.discard(PREFIX)
        context.store.save(self.key(context), Artifact(value=trials), {})

    def load(self, context: Context) -> list[Trial]:
        """Return the trials of a finished search, in order."""
        trials: list[Trial] = context.store.load(self.key(context)).value
        return trials

    def spent(self, context: Context) -> float:
        """Return what the trials cost on one seed, as in `Plan.cost`; each prefix counts once.

        A step that diverged counts in full; what a crash made run again does not count.
        """
        plans = [self.plan(t["answers"]) for t in self.load(context) if t["status"] != "infeasible"]
        prefixes = [
            UnlearnedPrefix(self.originals[0], plan, number)
            for plan in plans
            for number, step in enumerate(plan.steps, start=1)
            if not step.idle
        ]
        total = len(context.bundle.train)
        return sum(prefix.cost(total) for prefix in context.distinct(prefixes))

    def finalists(self, context: Context) -> list[Plan]:
        """Return the best plans, best first; ties go to the earlier trial.

        Raises:
            StalledError: no trial could be judged.
        """
        complete = [t for t in self.load(context) if t["status"] == "complete"]
        if not complete:
            raise StalledError(
                f"none of the {self.config.trials} trials of search {self.name} could be judged: "
                f"each diverged, or costs more than search.max_cost={self.config.max_cost}. Give "
                "more trials, a higher max_cost, or unlearners that cost less."
            )
        complete.sort(key=lambda trial: -trial["objective"])
        plans = {repr(trial["plan"]): self.plan(trial["answers"]) for trial in complete}
        return list(plans.values())[:FINALISTS]

    def pick(self, context: Context) -> Plan:
        """Return the finalist with the best mean over search seeds and fresh seeds."""

        def mean(plan: Plan) -> float:
            jobs = (self.trial(plan), self.trial(plan, fresh=True))
            return float(np.mean([j for job in jobs for j in _by_seed(job, context)]))

        return max(self.finalists(context), key=mean)


def _by_seed(job: TryPlan, context: Context) -> list[float]:
    """Return a trial's objective by seed; one that diverged counts as the worst on each."""
    value = context.load(job).value
    by_seed: list[float] = value["by_seed"] or [value["objective"]] * len(job.originals)
    return by_seed
