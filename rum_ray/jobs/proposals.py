"""The proposals of a search: Optuna samples them in batches of fixed size.

Proposals depend only on the seed and the results. A batch is proposed once every trial of the
batch before is judged, and results are reported to the sampler in the order of proposal. So neither
the number of workers nor the order in which trials finish changes a proposal.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna

from rum_ray.jobs.search import DRAWS, PATIENCE, SearchJob
from rum_ray.rum import Plan
from rum_ray.search.objective import INFEASIBLE
from rum_ray.seeding import Seed
from rum_ray.training.domains import Choice, Domain, Integers, LogUniform


@dataclass(frozen=True, eq=False)
class Proposal:
    """A plan to try.

    Attributes:
        number: place in the order of proposal, from 0.
        answers: one per question of the space, by name.
        plan: the plan with these answers.
    """

    number: int
    answers: Mapping[str, Any]
    plan: Plan


@dataclass(frozen=True)
class Judged:
    """The result of a trial: the objective J, and the cost as a share of retraining."""

    objective: float
    cost: float


class Proposals:
    """Proposes plans within the cap on cost, batch by batch.

    A plan above the cap is replaced by another draw, so a space of expensive plans gets as many
    trials as any other. Draws above the cap are reported to the sampler as failed, because as
    results they would use up its random start-up trials. To keep it from proposing only such
    plans, every `PATIENCE`-th one is reported as infeasible.

    Attributes:
        made: all proposals so far, in order.
        drawn_again: number of draws above the cap that were replaced.
    """

    def __init__(self, search: SearchJob, total: int) -> None:
        """Begin a search over `total` training examples."""
        self._search, self._total = search, total
        self._study = _study(search)
        self._open: dict[int, optuna.Trial] = {}
        self._judged: dict[int, tuple[optuna.Trial, Judged | None]] = {}
        self.made: list[Proposal] = []
        self.drawn_again = 0

    @property
    def finished(self) -> bool:
        """True if every trial of the budget is proposed."""
        return len(self.made) >= self._search.config.trials

    @property
    def _batch_is_full(self) -> bool:
        """True if the current batch has all its proposals."""
        return len(self.made) % self._search.config.batch == 0

    def propose(self) -> Proposal | None:
        """Return the next proposal; None while a full batch waits for its results."""
        if self._batch_is_full and self._open:
            return None
        trial, answers, plan = self._draw()
        proposal = Proposal(len(self.made), answers, plan)
        self._open[proposal.number] = trial
        self.made.append(proposal)
        return proposal

    def tell(self, number: int, judged: Judged | None) -> None:
        """Record the result of a proposal, None for a failure; the sampler gets whole batches."""
        self._judged[number] = self._open.pop(number), judged
        if self._batch_is_full and not self._open:
            for each in sorted(self._judged):
                self._report(*self._judged[each])
            self._judged.clear()

    def _draw(self) -> tuple[optuna.Trial, dict[str, Any], Plan]:
        """Return the first draw within the cap, or draw number `DRAWS`."""
        for draw in range(1, DRAWS + 1):
            trial = self._study.ask()
            plan = self._search.space.plan(partial(_ask, trial))
            cost = self._search.plan_cost(plan, self._total)
            if cost <= self._search.config.max_cost or draw == DRAWS:
                break
            self.drawn_again += 1
            self._report(trial, None if draw % PATIENCE else Judged(INFEASIBLE, cost))
        return trial, trial.params, plan

    def _report(self, trial: optuna.Trial, judged: Judged | None) -> None:
        """Report a result to the sampler."""
        if judged is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif self._search.config.front:
            self._study.tell(trial, [judged.objective, judged.cost])
        else:
            self._study.tell(trial, judged.objective)


def _study(search: SearchJob) -> optuna.Study:
    """Return an Optuna study that starts with the plans of `search.starts`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    config = search.config
    seed = int((Seed(config.seed) / "sampler" / search.space.name).words(1)[0] >> 32)
    sampler: optuna.samplers.BaseSampler
    if config.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        with warnings.catch_warnings():
            # Multivariate TPE is an experimental feature of Optuna.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)
    if config.front:
        study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    else:
        study = optuna.create_study(sampler=sampler, direction="maximize")
    for plan in search.starts:
        study.enqueue_trial(search.space.answers(plan))
    return study


def _ask(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """Return Optuna's answer to a question of the space."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.options)
    if isinstance(domain, Integers):
        return trial.suggest_int(name, domain.low, domain.high)
    logarithmic = isinstance(domain, LogUniform)
    return trial.suggest_float(name, domain.low, domain.high, log=logarithmic)
