"""The job of one search: its space, its budget, its ledger, and the choice of a plan."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from rum_ray.errors import StalledError
from rum_ray.experiment import SearchConfig
from rum_ray.jobs.context import Context
from rum_ray.jobs.evaluate import evaluation_cost, relative_cost
from rum_ray.jobs.ledger import Ledger, Result, Trial, inherited, mean_of, objective, read_ledger
from rum_ray.jobs.prefix import PREFIX
from rum_ray.jobs.reference import PoolReference, RetrainedReference
from rum_ray.jobs.train import TrainModel
from rum_ray.jobs.trial import EvaluatePlan
from rum_ray.partition import whole
from rum_ray.rum import Plan
from rum_ray.search import race
from rum_ray.search.objective import INFEASIBLE
from rum_ray.search.spaces import FREE, Space, SpaceName, replay
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.domains import Domain, LogUniform, Uniform
from rum_ray.unlearning import Nothing, Unlearner

DRAWS = 1000
"""Most draws per proposal; after them, a search makes no more proposals."""


@dataclass(frozen=True, eq=False)
class Finalist:
    """A plan that was compared with others on fresh seeds.

    Attributes:
        plan: the plan.
        searched: J on the search seeds, mean over those that it was tried on.
        fresh: results on the fresh seeds.
        dropped: reason why it cannot be picked; None if it can.
    """

    plan: Plan
    searched: float
    fresh: tuple[Result, ...]
    dropped: str | None = None


@dataclass(frozen=True, eq=False)
class SearchJob:
    """Search a space of plans within a budget.

    Attributes:
        space: the plans that can be proposed.
        config: budget, cap on cost, and objective.
        originals: one per search seed, then one per fresh seed.
        reference: the target of the unlearned models.
        starts: plans of the space that are tried first.
        parents: searches of smaller spaces, whose trials are known from the start. Of each, the
            first of so many equal parts of its budget counts.
    """

    key_name: ClassVar[str] = "Search"

    space: Space
    config: SearchConfig
    originals: tuple[TrainModel, ...]
    reference: RetrainedReference | PoolReference
    starts: tuple[Plan, ...] = ()
    parents: "tuple[tuple[SearchJob, int], ...]" = ()

    @property
    def name(self) -> SpaceName:
        """The space's name."""
        return self.space.name

    @property
    def seed(self) -> Seed:
        """The root of the draws: searches of other spaces or unlearners draw other plans."""
        names = "+".join(candidate.name for candidate in self.space.candidates)
        return Seed(self.config.seed) / self.name / names

    def key(self, context: Context) -> Key:
        """Return the key of the finished search."""
        domains = {candidate.name: candidate.domains for candidate in self.space.candidates}
        # Only these settings affect the trials, besides the values of the job.
        names = ("objective", "attack", "max_cost", "trials", "budget", "batch", "seeds", "seed")
        settings = {name: getattr(self.config, name) for name in (*names, "sampler", "front")}
        parents = [(parent.key(context).digest, parts) for parent, parts in self.parents]
        values = {
            "space": self.space,
            "settings": settings,
            "originals": self.originals[: self.config.seeds],
            "reference": self.reference,
            "starts": self.starts,
            "parents": parents,
            "domains": domains,
            "valid": context.eval_fingerprint("valid"),
            # Proposals depend on the version of the sampler and on the rule of the draws.
            "optuna": version("optuna"),
            "draws": [DRAWS, "first batch by a Latin hypercube"],
        }
        return Key("search", {**values, **context.train_fingerprint})

    def proposed(self, answers: Mapping[str, Any], seed: int) -> EvaluatePlan:
        """Return the job that judges the plan of some answers on a seed; it caches shared steps."""
        plan, shared = self.space.plan(replay(answers)), self.shared(answers)
        return EvaluatePlan(plan, self.originals[seed], self.reference, shared)

    def unit(self, plan: Plan, seed: int) -> EvaluatePlan:
        """Return the job that judges a plan on a seed; fresh seeds follow the search seeds."""
        return EvaluatePlan(plan, self.originals[seed], self.reference)

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

        plans = self.space.plan(replay(answers)), self.space.plan(moved)
        steps = zip(*(plan.steps for plan in plans), strict=True)
        return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], steps))

    def plan_cost(self, plan: Plan, total: int) -> float:
        """Return the cost of a plan as a share of retraining, with `total` training examples."""
        return relative_cost(plan, self.originals[0].recipe, total)

    def unit_cost(self, plan: Plan, context: Context) -> float:
        """Return the cost of a plan and of its evaluation, in trainings of the original."""
        total, unseen = len(context.bundle.train), len(context.bundle.valid)
        forget, recipe = len(self.reference.partition.rows), self.originals[0].recipe
        return self.plan_cost(plan, total) + evaluation_cost(recipe, forget, total, unseen)

    def single(self, plan: Plan) -> Unlearner | None:
        """Return the unlearner of all searched steps; None if the space assigns one per subset."""
        if "assignment" in FREE[self.name]:
            return None
        searched = (s.unlearner for s in plan.steps if s.subset.name not in self.space.steps)
        return next(searched, None)

    def cost(self, context: Context) -> float:
        """Return the cost of all units and of the fresh seeds, in trainings of the original."""
        fresh = sum(self.unit_cost(unit.plan, context) for unit in self.validations(context))
        return self.ledger(context).spent + fresh

    def save(self, context: Context, ledger: Ledger) -> None:
        """Save the ledger of a finished search.

        The cache of prefixes is emptied, including those of searches that were killed. A concurrent
        search recomputes the prefixes that it needs.
        """
        context.store.discard(PREFIX)
        context.store.save(context.key(self), Artifact(value=ledger.plain()), {})

    def ledger(self, context: Context) -> Ledger:
        """Return the ledger of a finished search."""
        return read_ledger(context.load(self).value, self.space)

    def first(self, context: Context, parts: int) -> Ledger:
        """Return the ledger as it was when the first of `parts` equal parts was spent.

        With a budget in trainings, it is the ledger of a search with that part of the budget.
        """
        ledger = self.ledger(context)
        if parts == 1:
            return ledger
        return ledger.first((self.config.budget or ledger.spent) / parts)

    def known(self, context: Context) -> list[Trial]:
        """Return the trials of the parents that lie in the space; the parents are finished."""
        found = [
            trial for parent, parts in self.parents for trial in parent.first(context, parts).trials
        ]
        return inherited(self.space, found)

    def best(self, ledger: Ledger) -> list[Trial]:
        """Return the best trials of a ledger that qualify as finalists, best first."""
        trials = [trial for trial in ledger.trials if trial.qualifies(self.config)]
        results = [trial.by_seed(self.config) for trial in trials]
        order = race.finalists(results, self.config.seeds, self.config.finalists)
        return [trials[number] for number in order]

    def _no_finalist(self, ledger: Ledger) -> str:
        """Return the reason why no trial qualifies."""
        config, name = self.config, self.name
        if not ledger.trials:
            return (
                f"search: {name} has no trial: no plan within max_cost={config.max_cost:g} was "
                f"found, or the first one costs more than {config.size}. Set a larger budget or "
                "max_cost, or cheaper unlearners."
            )
        complete = [trial for trial in ledger.trials if trial.status == "complete"]
        if not complete:
            return (
                f"search: each of the {len(ledger.trials)} trials of {name} diverged. Set a larger "
                "budget, lower learning rates, or other unlearners."
            )
        affordable = [trial for trial in complete if trial.cost <= config.cost_limit]
        if not affordable:
            least = min(trial.cost for trial in complete)
            return (
                f"search.pick: none of the {len(complete)} trials of {name} has {config.pick}; the "
                f"cheapest one costs {least:.3g}. Raise the limit or the budget, or lower "
                "search.max_cost."
            )
        return (
            f"search: each of the {len(affordable)} trials of {name} fails on some seed: J is "
            "below half of the mean. Set a larger budget, or other unlearners."
        )

    def candidates(self, context: Context) -> list[Trial]:
        """Return the plans to compare on fresh seeds: the best trials, and those of the parents.

        Raises:
            StalledError: no trial qualifies.
        """
        ledger = self.ledger(context)
        found = {trial.plan: trial for trial in self.best(ledger)}
        if not found:
            raise StalledError(self._no_finalist(ledger))
        for parent, parts in self.parents:
            of_parent = parent.best(parent.first(context, parts))
            for trial in inherited(self.space, of_parent):
                found.setdefault(trial.plan, trial)
        return [*found.values()]

    @property
    def idle(self) -> Plan:
        """The plan that does nothing."""
        return Plan.assign(whole(self.reference.partition), {"all": Nothing()})

    def fresh_units(self, plan: Plan) -> list[EvaluatePlan]:
        """Return the jobs that judge a plan on the fresh seeds."""
        seeds = range(self.config.seeds, self.config.seeds + self.config.fresh)
        return [self.unit(plan, seed) for seed in seeds]

    def validations(self, context: Context) -> list[EvaluatePlan]:
        """Return the jobs that judge the candidates, and doing nothing, on the fresh seeds."""
        plans = [*(trial.plan for trial in self.candidates(context)), self.idle]
        return [unit for plan in plans for unit in self.fresh_units(plan)]

    def finalists(self, context: Context) -> list[Finalist]:
        """Return the compared plans, best first: those that cannot be picked come last.

        A plan is dropped if it fails on a seed, or if its predictions agree less with those of the
        reference than the original's do. If every plan is dropped, the best one is picked all the
        same.
        """
        idle = self._fresh(self.idle, context)
        found = []
        for trial in self.candidates(context):
            fresh, by_seed = self._fresh(trial.plan, context), trial.by_seed(self.config)
            reason = _reason(fresh, idle, self.config)
            found.append(Finalist(trial.plan, float(np.mean(by_seed)), fresh, reason))
        value = {id(each): _verdict(each.fresh, self.config) for each in found}
        return sorted(found, key=lambda each: (each.dropped is not None, -value[id(each)]))

    def _fresh(self, plan: Plan, context: Context) -> tuple[Result, ...]:
        """Return the results of a plan on the fresh seeds."""
        return tuple(Result.read(context.load(unit).value) for unit in self.fresh_units(plan))

    def pick(self, context: Context) -> Plan:
        """Return the plan of the best finalist."""
        return self.finalists(context)[0].plan


def _verdict(fresh: tuple[Result, ...], config: SearchConfig) -> float:
    """Return the value by which finalists are ranked: both attacks count alike."""
    found = [r.judged.verdict(config.objective) if r.judged else INFEASIBLE for r in fresh]
    return float(np.mean(found))


def _reason(
    fresh: tuple[Result, ...], idle: tuple[Result, ...], config: SearchConfig
) -> str | None:
    """Return the reason why a finalist cannot be picked; None if it can."""
    by_seed = [objective(result, config) for result in fresh]
    if None in (result.judged for result in fresh) or race.collapses(by_seed):
        return "fails on a fresh seed"
    alike, unchanged = (mean_of(results, "examples") for results in (fresh, idle))
    if alike is not None and unchanged is not None and alike < unchanged:
        return "agrees less with the reference than the original does"
    return None
