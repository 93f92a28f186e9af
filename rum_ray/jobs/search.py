"""One search: its space, its budget, and what its trials found."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from rum_ray.errors import StalledError
from rum_ray.evaluation.statistics import pareto
from rum_ray.experiment import SearchConfig, plan_as_dicts
from rum_ray.jobs.context import Context
from rum_ray.jobs.evaluate import relative_cost
from rum_ray.jobs.prefix import PREFIX, PlanPrefix
from rum_ray.jobs.reference import PoolReference, RetrainedReference
from rum_ray.jobs.train import TrainModel
from rum_ray.jobs.trial import EvaluatePlan
from rum_ray.rum import Plan
from rum_ray.search.spaces import FREE, Space, SpaceName
from rum_ray.store import Artifact, Key
from rum_ray.training.domains import Domain, LogUniform, Uniform
from rum_ray.unlearning import Unlearner

FINALISTS = 3
FRESH_SEEDS = 2
DRAWS = 1000
"""How often a proposal is drawn at most; the last one is tried, and told to cost too much."""
PATIENCE = 100
"""After so many draws in vain, a sampler is told that the last one was bad."""

Trial = dict[str, Any]
"""What the ledger has of a trial: answers, plan, whether the search was told to start with it,
status, objective, tow, gap, cost, by_seed."""


@dataclass(frozen=True, eq=False)
class SearchJob:
    """A space, and how its plans are judged.

    Attributes:
        space: what may be proposed.
        config: budget, cap and attack.
        originals: one a search seed, and the fresh ones at the end.
        reference: what unlearned models should be like.
        starts: plans of the space that are tried first.
    """

    key_name: ClassVar[str] = "Search"

    space: Space
    config: SearchConfig
    originals: tuple[TrainModel, ...]
    reference: RetrainedReference | PoolReference
    starts: tuple[Plan, ...] = ()

    @property
    def name(self) -> SpaceName:
        """The space's name."""
        return self.space.name

    def key(self, context: Context) -> Key:
        """Return the key of the finished search."""
        domains = {candidate.name: candidate.domains for candidate in self.space.candidates}
        # What else is searched, where plans come from, and which are picked changes no trial.
        config = dataclasses.replace(
            self.config, spaces=SearchConfig.spaces, start=(), also=(), pick=None
        )
        search = dataclasses.replace(self, config=config)
        made_of = {"search": search, "domains": domains, "valid": context.eval_fingerprint("valid")}
        # Another release of the sampler, or another rule by which it is asked, proposes others.
        made_of |= {"optuna": version("optuna"), "draws": DRAWS, "patience": PATIENCE}
        return Key("search", {**made_of, **context.train_fingerprint})

    def proposed(self, answers: Mapping[str, Any]) -> EvaluatePlan:
        """Return the job that judges what a trial's answers make, sharing what others may have."""
        return dataclasses.replace(self.trial(self.plan(answers)), shared=self.shared(answers))

    def trial(self, plan: Plan, fresh: bool = False) -> EvaluatePlan:
        """Return the job that judges a plan, on the search seeds or on the fresh ones."""
        originals = self.originals[-FRESH_SEEDS:] if fresh else self.originals[:-FRESH_SEEDS]
        return EvaluatePlan(
            plan, originals, self.reference, self.config.attack, self.config.max_cost
        )

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

    def plan_cost(self, plan: Plan, total: int) -> float:
        """Return the cost of a plan as a share of retraining, with `total` training examples."""
        return relative_cost(plan, self.originals[0].recipe, total)

    def single(self, plan: Plan) -> Unlearner | None:
        """Return what all searched steps of a plan share; None if each may have its own."""
        if "assignment" in FREE[self.name]:
            return None
        searched = (s.unlearner for s in plan.steps if s.subset.name not in self.space.steps)
        return next(searched, None)

    def save(
        self, context: Context, proposals: Sequence[Mapping[str, Any]], drawn_again: int = 0
    ) -> None:
        """Keep a finished search: its proposals in order, with what each was judged.

        How many others were `drawn_again`, since they cost too much, is kept beside them.

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
        context.store.save(
            self.key(context), Artifact(value={"trials": trials, "drawn_again": drawn_again}), {}
        )

    def load(self, context: Context) -> list[Trial]:
        """Return the trials of a finished search, in order."""
        trials: list[Trial] = context.store.load(self.key(context)).value["trials"]
        return trials

    def drawn_again(self, context: Context) -> int:
        """Return how many proposals cost too much, and were replaced."""
        return int(context.store.load(self.key(context)).value["drawn_again"])

    def spent(self, context: Context) -> float:
        """Return what the trials cost on one seed, as in `Plan.cost`; each prefix counts once.

        A step that diverged counts in full; what a crash made run again does not count.
        """
        plans = [self.plan(t["answers"]) for t in self.load(context) if t["status"] != "infeasible"]
        prefixes = [
            PlanPrefix(self.originals[0], plan, number)
            for plan in plans
            for number, step in enumerate(plan.steps, start=1)
            if not step.idle
        ]
        total = len(context.bundle.train)
        return sum(p.plan.step_cost(p.steps - 1, total) for p in context.distinct(prefixes))

    def front(self, context: Context) -> list[Trial]:
        """Return the trials that no cheaper one matches, by rising cost, with their `number`."""
        found = self._complete(context)
        edge = pareto([trial["cost"] for trial in found], [trial["objective"] for trial in found])
        return [found[index] for index in edge]

    def _complete(self, context: Context) -> list[Trial]:
        """Return the trials that have an objective, with their `number`."""
        numbered = ({"number": n, **trial} for n, trial in enumerate(self.load(context)))
        return [trial for trial in numbered if trial["status"] == "complete"]

    def finalists(self, context: Context) -> list[Plan]:
        """Return the best plans of those that may be picked, best first; ties go to the earlier.

        Raises:
            StalledError: no trial could be judged, or none is as cheap as it must be.
        """
        config, complete = self.config, self._complete(context)
        if not complete:
            raise StalledError(
                f"none of the {config.trials} trials of search {self.name} could be judged: "
                f"each diverged, or costs more than search.max_cost={config.max_cost:g}. Give "
                "more trials, a higher max_cost, or unlearners that cost less."
            )
        found = [trial for trial in complete if trial["cost"] <= config.budget]
        if not found:
            least = min(trial["cost"] for trial in complete)
            raise StalledError(
                f"search.pick: none of the {config.trials} trials of search {self.name} has "
                f"{config.pick}; the cheapest that was judged costs {least:.3g}. "
                "Allow more, give more trials, or lower search.max_cost."
            )
        found.sort(key=lambda trial: -trial["objective"])
        plans = {repr(trial["plan"]): self.plan(trial["answers"]) for trial in found}
        return list(plans.values())[:FINALISTS]

    def pick(self, context: Context) -> Plan:
        """Return the finalist with the best mean over search seeds and fresh seeds."""

        def mean(plan: Plan) -> float:
            jobs = (self.trial(plan), self.trial(plan, fresh=True))
            return float(np.mean([j for job in jobs for j in _by_seed(job, context)]))

        return max(self.finalists(context), key=mean)


def _by_seed(job: EvaluatePlan, context: Context) -> list[float]:
    """Return a trial's objective by seed; one that diverged counts as the worst on each."""
    value = context.load(job).value
    by_seed: list[float] = value["by_seed"] or [value["objective"]] * len(job.originals)
    return by_seed
