"""The proposals of a search: plans from Optuna and promotions of the race, batch by batch.

Proposals depend only on the seed and on the ledger. A batch is proposed once every unit of the
batch before is judged, and results enter the ledger in the order of proposal. So neither the number
of workers nor the order in which units finish changes a proposal.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna

from rum_ray.jobs.context import Context
from rum_ray.jobs.ledger import Ledger, Result, Trial
from rum_ray.jobs.search import DRAWS, SearchJob
from rum_ray.search.race import Unit, promoted
from rum_ray.training.domains import Cell, Choice, Domain, Integers, LogUniform

SAMPLED = 30
"""Most draws per proposal by the sampler; the others are drawn at random, which is faster."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A plan to judge on one seed.

    Attributes:
        unit: numbers of the plan and of the search seed.
        answers: one per question of the space, by name.
    """

    unit: Unit
    answers: Mapping[str, Any]


class Proposals:
    """Proposes units within the budget, batch by batch.

    A batch has the promotions that are due, then new plans up to `search.batch` units. A plan above
    the cap on cost, or one that is known, is replaced by another draw; so a space of expensive
    plans gets as many trials as its budget allows.

    While TPE knows no trial, the plans of the first batch spread evenly over the continuous ranges.

    Attributes:
        ledger: the trials so far; those of smaller spaces first.
        spent: cost of all proposals, in trainings of the original.
        finished: True if the budget is spent.
    """

    def __init__(self, search: SearchJob, context: Context) -> None:
        """Begin a search; its parents must be finished."""
        self._search, self._context = search, context
        self.ledger = Ledger(search.known(context))
        self._starts = [*search.starts]
        self._known = {trial.plan for trial in self.ledger.trials}
        self._new = 0
        self._batch: list[Unit] = []
        self._waiting: list[Unit] = []
        self._told: dict[Unit, Result] = {}
        self._batches = 0
        self.spent, self.finished = 0.0, False
        self._is_spent = self._is_exhausted = False
        self._plan_batch()

    def propose(self) -> Proposal | None:
        """Return the next unit; None while a batch waits for its results, and at the end."""
        if not self._waiting:
            return None
        unit = self._waiting.pop(0)
        return Proposal(unit, self.ledger.trials[unit.trial].answers)

    def tell(self, unit: Unit, result: Result) -> None:
        """Record the result of a unit; the ledger gets whole batches."""
        self._told[unit] = result
        if len(self._told) == len(self._batch):
            for each in self._batch:
                self.ledger.add(each, self._cost(each), self._told[each])
            self._told.clear()
            self._plan_batch()

    def _cost(self, unit: Unit) -> float:
        """Return the cost of a unit, in trainings of the original."""
        return self._search.unit_cost(self.ledger.trials[unit.trial].plan, self._context)

    def _plan_batch(self) -> None:
        """Plan the next batch: as much of it as the budget allows, the most expensive units first.

        Workers that take long units first are idle for a shorter time at the end of the batch.
        """
        config, self._batch = self._search.config, []
        study, self._batches = _study(self._search, self.ledger, self._batches), self._batches + 1
        due = promoted(self.ledger.results(config), config.seeds)
        while not self._is_spent:
            if due:
                unit = due.pop(0)
            elif len(self._batch) < config.batch and self._may_draw and self._draw(study):
                unit = Unit(len(self.ledger.trials) - 1, 0)
            else:
                break
            cost = self._cost(unit)
            if config.budget is not None and self.spent + cost > config.budget:
                self._is_spent = True
                if unit.seed == 0:
                    self.ledger.trials.pop()
                break
            self.spent += cost
            self._batch.append(unit)
        self.finished = not self._batch
        self._waiting = sorted(self._batch, key=lambda unit: -self._cost(unit))

    @property
    def share(self) -> float:
        """The share of the budget that is judged, in [0, 1]."""
        config = self._search.config
        if self.finished:
            return 1.0
        if config.budget is not None:
            return self.ledger.spent / config.budget
        return min(1.0, sum(unit.seed == 0 for unit in self.ledger.units) / (config.trials or 1))

    @property
    def _may_draw(self) -> bool:
        """True if the search may try another plan, and there can be one."""
        trials = self._search.config.trials
        return not self._is_exhausted and (trials is None or self._new < trials)

    @property
    def _is_first(self) -> bool:
        """True in the first batch of TPE, if it has no trials of smaller spaces to learn from."""
        is_tpe = self._search.config.sampler == "tpe"
        return is_tpe and self._batches == 1 and not self._search.parents

    def _draw(self, study: optuna.Study) -> bool:
        """Add a new plan within the cap to the ledger; return False if there is none."""
        search, total = self._search, len(self._context.bundle.train)
        for draw in range(DRAWS):
            start, sampled = bool(self._starts), False
            if start:
                plan = self._starts.pop(0)
                answers = search.space.answers(plan)
            elif sampled := draw < SAMPLED and not self._is_first:
                trial = study.ask()
                plan = search.space.plan(partial(_ask, trial))
                answers = dict(trial.params)
            else:
                seed, count = search.seed / "draws", search.config.batch
                cell = Cell(search.seed / "cells", self._new, count) if self._is_first else None
                answers, plan = search.space.draw(seed / self._new / draw, cell)
            cost = search.plan_cost(plan, total)
            if plan not in self._known and cost <= search.config.max_cost:
                self._known.add(plan)
                self._new += 1
                self.ledger.trials.append(Trial(answers, plan, cost, start))
                return True
            if sampled:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            self.ledger.drawn_again += not start
        self._is_exhausted = True
        return False


def _study(search: SearchJob, ledger: Ledger, batch: int) -> optuna.Study:
    """Return an Optuna study that knows the trials of the ledger, for one batch."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = search.config
    seed = int((search.seed / "sampler" / batch).words(1)[0] >> 32)
    sampler: optuna.samplers.BaseSampler
    if config.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        with warnings.catch_warnings():
            # Options of TPE that are experimental features of Optuna.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                multivariate=True, group=True, constant_liar=True, seed=seed
            )
    study = optuna.create_study(
        sampler=sampler, directions=["maximize", "minimize"] if config.front else ["maximize"]
    )
    results = ledger.results(config)
    for trial, by_seed in zip(ledger.trials, results, strict=True):
        mean = sum(by_seed) / len(by_seed)
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial.answers),
                distributions=_distributions(search, trial),
                values=[mean, trial.cost] if config.front else [mean],
            )
        )
    return study


def _distributions(
    search: SearchJob, trial: Trial
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return Optuna's form of the domains of a trial's questions."""
    found = {}

    def choose(name: str, domain: Domain) -> Any:
        found[name] = _distribution(domain)
        return trial.answers[name]

    search.space.plan(choose)
    return found


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of a domain."""
    if isinstance(domain, Choice):
        return optuna.distributions.CategoricalDistribution(domain.options)
    if isinstance(domain, Integers):
        return optuna.distributions.IntDistribution(domain.low, domain.high)
    logarithmic = isinstance(domain, LogUniform)
    return optuna.distributions.FloatDistribution(domain.low, domain.high, log=logarithmic)


def _ask(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """Return Optuna's answer to a question of the space."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.options)
    if isinstance(domain, Integers):
        return trial.suggest_int(name, domain.low, domain.high)
    logarithmic = isinstance(domain, LogUniform)
    return trial.suggest_float(name, domain.low, domain.high, log=logarithmic)
