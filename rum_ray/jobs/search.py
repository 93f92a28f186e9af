"""The job of one search: its space, its budget, and the results of its trials."""

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
from rum_ray.search.spaces import FREE, Space, SpaceName, replay
from rum_ray.store import Artifact, Key
from rum_ray.training.domains import Domain, LogUniform, Uniform
from rum_ray.unlearning import Unlearner

FINALISTS = 3
FRESH_SEEDS = 2
DRAWS = 1000
"""Most draws per proposal; the last one becomes a trial, even above the cap on cost."""
PATIENCE = 100
"""Every so many draws above the cap, one is reported to the sampler as infeasible."""

Trial = dict[str, Any]
"""A stored trial: answers, plan, start (True for a plan of `starts`), status, objective, tow, gap,
cost, by_seed."""


@dataclass(frozen=True, eq=False)
class SearchJob:
    """Search a space of plans within a budget of trials.

    Attributes:
        space: the plans that can be proposed.
        config: budget, cap on cost, and attack.
        originals: one per search seed, then one per fresh seed.
        reference: the target of the unlearned models.
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
        # Other spaces and references, the origin of start plans, and the rule of the pick do not
        # affect the trials.
        config = dataclasses.replace(
            self.config, spaces=SearchConfig.spaces, start=(), also=(), pick=None
        )
        search = dataclasses.replace(self, config=config)
        valid = context.eval_fingerprint("valid")
        values = {"search": search, "domains": domains, "valid": valid}
        # Proposals depend on the version of the sampler and on the rules of the draws.
        values |= {"optuna": version("optuna"), "draws": DRAWS, "patience": PATIENCE}
        return Key("search", {**values, **context.train_fingerprint})

    def proposed(self, answers: Mapping[str, Any]) -> EvaluatePlan:
        """Return the job that judges the plan of a trial's answers; it caches shared steps."""
        return dataclasses.replace(self.trial(self.plan(answers)), shared=self.shared(answers))

    def trial(self, plan: Plan, fresh: bool = False) -> EvaluatePlan:
        """Return the job that judges a plan, on the search seeds or on the fresh seeds."""
        originals = self.originals[-FRESH_SEEDS:] if fresh else self.originals[:-FRESH_SEEDS]
        return EvaluatePlan(
            plan, originals, self.reference, self.config.attack, self.config.max_cost
        )

    def shared(self, answers: Mapping[str, Any]) -> int:
        """Return the number of first steps that other trials can have too.

        A value from a continuous range occurs only once. So a step counts as shared if it stays the
        same when each such value moves to the adjacent number; a value rounded to a grid stays.
        """

        def moved(name: str, domain: Domain) -> Any:
            if not isinstance(domain, Uniform | LogUniform):
                return answers[name]
            end = domain.low if answers[name] > domain.low else domain.high
            return math.nextafter(answers[name], end)

        steps = zip(self.plan(answers).steps, self.space.plan(moved).steps, strict=True)
        return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], steps))

    def plan(self, answers: Mapping[str, Any]) -> Plan:
        """Return the plan of a trial's answers."""
        return self.space.plan(replay(answers))

    def plan_cost(self, plan: Plan, total: int) -> float:
        """Return the cost of a plan as a share of retraining, with `total` training examples."""
        return relative_cost(plan, self.originals[0].recipe, total)

    def single(self, plan: Plan) -> Unlearner | None:
        """Return the unlearner of all searched steps; None if the space assigns one per subset."""
        if "assignment" in FREE[self.name]:
            return None
        searched = (s.unlearner for s in plan.steps if s.subset.name not in self.space.steps)
        return next(searched, None)

    def save(
        self, context: Context, proposals: Sequence[Mapping[str, Any]], drawn_again: int = 0
    ) -> None:
        """Save a finished search: its proposals in order, with their results.

        The cache of prefixes is emptied, including those of searches that were killed. A concurrent
        search recomputes the prefixes that it needs.

        Args:
            context: the data, the store and the device.
            proposals: the answers of each trial, in order.
            drawn_again: number of draws above the cap that were replaced.
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
        trials: list[Trial] = context.load(self).value["trials"]
        return trials

    def drawn_again(self, context: Context) -> int:
        """Return the number of draws above the cap that were replaced."""
        return int(context.load(self).value["drawn_again"])

    def spent(self, context: Context) -> float:
        """Return the cost of all trials on one seed, in the unit of `Plan.cost`.

        Each prefix counts once. A step that diverged counts in full; repetitions after a crash do
        not count.
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
        """Return the Pareto front of objective and cost, by rising cost, with each `number`."""
        trials = self._complete(context)
        front = pareto([t["cost"] for t in trials], [t["objective"] for t in trials])
        return [trials[index] for index in front]

    def _complete(self, context: Context) -> list[Trial]:
        """Return the trials that have an objective, with their `number`."""
        numbered = ({"number": n, **trial} for n, trial in enumerate(self.load(context)))
        return [trial for trial in numbered if trial["status"] == "complete"]

    def finalists(self, context: Context) -> list[Plan]:
        """Return the best plans within the budget of the pick, best first; ties go to the earlier.

        Raises:
            StalledError: no trial is complete, or none is within the budget.
        """
        config, complete = self.config, self._complete(context)
        if not complete:
            raise StalledError(
                f"search: none of the {config.trials} trials of {self.name} is complete. Each "
                f"diverged or costs more than search.max_cost={config.max_cost:g}. Set more "
                "trials, a higher max_cost, or cheaper unlearners."
            )
        affordable = [trial for trial in complete if trial["cost"] <= config.budget]
        if not affordable:
            least = min(trial["cost"] for trial in complete)
            raise StalledError(
                f"search.pick: none of the {config.trials} trials of {self.name} has "
                f"{config.pick}; the cheapest complete trial costs {least:.3g}. Raise the limit, "
                "set more trials, or lower search.max_cost."
            )
        affordable.sort(key=lambda trial: -trial["objective"])
        plans = {repr(trial["plan"]): self.plan(trial["answers"]) for trial in affordable}
        return list(plans.values())[:FINALISTS]

    def pick(self, context: Context) -> Plan:
        """Return the finalist with the best mean objective over search seeds and fresh seeds."""

        def mean(plan: Plan) -> float:
            jobs = (self.trial(plan), self.trial(plan, fresh=True))
            return float(np.mean([j for job in jobs for j in _by_seed(job, context)]))

        return max(self.finalists(context), key=mean)


def _by_seed(job: EvaluatePlan, context: Context) -> list[float]:
    """Return a trial's objective by seed; a diverged trial counts as the worst on each."""
    value = context.load(job).value
    by_seed: list[float] = value["by_seed"] or [value["objective"]] * len(job.originals)
    return by_seed
