"""Searches by Ray Tune: Optuna proposes plans, trials judge them, our own store is the ledger.

Trials come in batches of a fixed size, and a batch is proposed when the one before is finished; so
the proposals depend on the seed and the results alone, not on the number of workers. A trial that
was judged before, in this run or in one that was killed, is read from the store: a search that is
started again replays itself and goes on.
"""

import math
import os
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import optuna
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from rum_ray import errors
from rum_ray.errors import RumRayError, StalledError
from rum_ray.search.objective import INFEASIBLE
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.training.space import Choice, Domain, Integers, LogUniform
from rum_ray.work import Context, Search


def run(
    search: Search,
    context: Context,
    workers: int,
    progress: Callable[[int, int, float], None],
    gpus: float = 0.0,
) -> None:
    """Run a search and keep its trials, in the order of their proposal.

    Args:
        search: what to search.
        context: the data and the store.
        workers: trials at a time; it changes no result.
        gpus: a trial's share of one.
        progress: is told how many trials are done, of how many, and the best objective so far.
    """
    config = search.config
    limited = ConcurrencyLimiter(_proposer(search), max_concurrent=config.batch, batch=True)
    judge = tune.with_parameters(_Judge, search=search, context=context)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    results = tune.Tuner(
        tune.with_resources(judge, {"cpu": 1, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            num_samples=config.trials,
            search_alg=limited,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{search.space.name}-{uuid.uuid4().hex[:8]}",
            storage_path=context.store.bookkeeping,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=3),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Watch(config.trials, progress)],
        ),
    ).fit()
    for number in range(len(results)):
        kind, _, message = ((results[number].metrics or {}).get("error") or "").partition(": ")
        if kind:
            raise getattr(errors, kind)(message)
    if results.errors:
        raise StalledError(f"search {search.space.name} failed: {results.errors[0]}")
    search.save(context, [results[number].config or {} for number in range(len(results))])


def _proposer(search: Search) -> OptunaSearch:
    """Return what proposes: first the plans to start with, then those of the sampler."""
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


class _Judge(tune.Trainable):
    """Judges one proposal after another; the data and the originals are loaded once."""

    def setup(  # type: ignore[override]  # Tune gives it the parameters of `with_parameters`.
        self, config: dict[str, Any], search: Search, context: Context
    ) -> None:
        """Hold what all proposals are judged with."""
        del config
        self._search, self._context = search, context

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Say that this process takes another proposal."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Judge the proposal that `self.config` is: all that a trial does."""
        try:
            judged = self._context.make_once(self._search.proposed(self.config)).value
        except RumRayError as error:
            # Trying again cannot mend it; the driver raises it.
            told = f"{type(error).__name__}: {error}"
            return {"objective": INFEASIBLE, "cost": math.inf, "error": told, "done": True}
        return {"objective": judged["objective"], "cost": judged["cost"], "done": True}


class _Watch(tune.Callback):
    """Tells the progress after each trial."""

    def __init__(self, total: int, progress: Callable[[int, int, float], None]) -> None:
        self._done, self._total, self._best, self._progress = 0, total, float("-inf"), progress

    def __getstate__(self) -> dict[str, Any]:
        """Keep nothing: Tune saves its callbacks, but the progress belongs to this process."""
        return {}

    def on_trial_complete(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        **info: Any,
    ) -> None:
        """Count the trial."""
        self._done += 1
        self._best = max(self._best, trial.last_result.get("objective", float("-inf")))
        self._progress(self._done, self._total, self._best)
