"""What a search tries next: answers that Optuna draws, and plans that cost no more than the cap."""

from functools import partial
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.utils import flatten_dict

from rum_ray.jobs import SearchJob
from rum_ray.jobs.search import DRAWS, PATIENCE
from rum_ray.search.objective import INFEASIBLE
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.training.domains import Choice, Domain, Integers, LogUniform


class Proposals(Searcher):
    """Proposes plans within the cap, in batches of a fixed size.

    What was found is passed on when all of a batch is judged, and only then the next one begins. So
    proposals do not depend on how many are judged at a time, nor on which is judged first.

    A plan that costs more than the cap is drawn again. So a space in which most plans are dear is
    searched with as many evaluations as another one. A sampler is not told of what it drew in vain:
    its first draws at random would be lost to it. But one that takes the good plans to be beyond
    the cap would draw there for ever, so it is told of one in `PATIENCE`.

    Attributes:
        answers: that each trial got, in the order of proposal.
        drawn_again: how many proposals cost too much.
    """

    def __init__(self, search: SearchJob, total: int) -> None:
        """Begin a search; `total` is the number of training examples."""
        self._search, self._total, self._optuna = search, total, _optuna(search)
        super().__init__(metric=self._optuna.metric, mode=self._optuna.mode)
        self._drawn, self._open = dict[str, str](), set[str]()
        self._judged = dict[str, tuple[dict[str, Any] | None, bool]]()
        self.answers: list[dict[str, Any]] = []
        self.drawn_again = 0

    @property
    def _full(self) -> bool:
        """Whether a batch has all its proposals."""
        return len(self._drawn) % self._search.config.batch == 0

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the answers of the next trial; None as long as a full batch is being judged."""
        if self._full and self._open:
            return None
        for draw in range(1, DRAWS + 1):
            name = f"{trial_id}.{draw}"
            answers: dict[str, Any] = flatten_dict(self._optuna.suggest(name) or {})
            cost = self._search.cost(answers, self._total)
            if cost <= self._search.config.max_cost or draw == DRAWS:
                break
            self.drawn_again += 1
            told = None if draw % PATIENCE else {"objective": INFEASIBLE, "cost": cost}
            self._optuna.on_trial_complete(name, told, error=told is None)
        self._drawn[trial_id] = name
        self._open.add(trial_id)
        self.answers.append(answers)
        return answers

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep what was found, and pass it on when the batch is judged."""
        self._open.remove(trial_id)
        self._judged[trial_id] = result, error
        if self._full and not self._open:
            for judged in [trial for trial in self._drawn if trial in self._judged]:
                self._optuna.on_trial_complete(self._drawn[judged], *self._judged.pop(judged))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search that is started again is replayed."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a search that is started again is replayed."""


def _optuna(search: SearchJob) -> OptunaSearch:
    """Return what proposes: first the plans to start with, then what the sampler draws."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = int((Seed(search.config.seed) / "sampler" / search.space.name).words(1)[0] >> 32)
    sampler: optuna.samplers.BaseSampler
    if search.config.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)
    return OptunaSearch(
        partial(_ask, search.space),
        metric=["objective", "cost"] if search.config.front else "objective",
        mode=["max", "min"] if search.config.front else "max",
        points_to_evaluate=[search.space.answers(plan) for plan in search.starts],
        sampler=sampler,
    )


def _ask(space: Space, trial: optuna.Trial) -> None:
    """Let Optuna answer a space's questions."""
    space.plan(lambda name, domain: _suggest(trial, name, domain))


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """Let Optuna choose a value of a domain."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.options)
    if isinstance(domain, Integers):
        return trial.suggest_int(name, domain.low, domain.high)
    logarithmic = isinstance(domain, LogUniform)
    return trial.suggest_float(name, domain.low, domain.high, log=logarithmic)
