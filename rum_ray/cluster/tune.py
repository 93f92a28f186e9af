"""Searches by Ray Tune: Optuna proposes plans, trials judge them, our own store is the ledger.

Trials come in batches of a fixed size, and a batch is proposed when the one before is finished; so
the proposals depend on the seed and the results alone, not on the number of workers. A trial that
was judged before, in this run or in one that was killed, is read from the store: a search that is
started again replays itself and goes on.
"""

import math
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

from ray import tune

from rum_ray import errors
from rum_ray.cluster.proposals import Proposals
from rum_ray.errors import RumRayError, StalledError
from rum_ray.jobs import Context, SearchJob
from rum_ray.search.objective import INFEASIBLE

Tell: TypeAlias = Callable[[int, int, float], Any]
"""Is told how many trials are done, how many of them had been before, and the best J so far."""


def run(
    search: SearchJob,
    context: Context,
    workers: int,
    progress: Tell,
    gpus: float = 0.0,
) -> None:
    """Run a search and keep its trials, in the order of their proposal.

    Args:
        search: what to search.
        context: the data and the store.
        workers: trials at a time; it changes no result.
        gpus: a trial's share of one.
        progress: is told after each trial.
    """
    config, stop = search.config, _Stop()
    proposals = Proposals(search, len(context.bundle.train))
    judge = tune.with_parameters(_Judge, search=search, context=context, began=time.time())
    results = tune.Tuner(
        tune.with_resources(judge, {"cpu": 1, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            num_samples=config.trials,
            search_alg=proposals,
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{search.space.name}-{uuid.uuid4().hex[:8]}",
            storage_path=context.store.bookkeeping,
            verbose=0,
            stop=stop,
            failure_config=tune.FailureConfig(max_failures=3),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Watch(progress, stop)],
        ),
    ).fit()
    for number in range(len(results)):
        kind, _, message = ((results[number].metrics or {}).get("error") or "").partition(": ")
        if kind:
            raise getattr(errors, kind)(message)
    if results.errors:
        raise StalledError(f"search {search.space.name} failed: {results.errors[0]}")
    search.save(context, proposals.answers, proposals.drawn_again)


class _Judge(tune.Trainable):
    """Judges one proposal after another; the data and the originals are loaded once."""

    def setup(  # type: ignore[override]  # Tune gives it the parameters of `with_parameters`.
        self, config: dict[str, Any], search: SearchJob, context: Context, began: float
    ) -> None:
        """Hold what all proposals are judged with."""
        del config
        self._search, self._context, self._began = search, context, began

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Say that this process takes another proposal."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Judge the proposal that `self.config` is: all that a trial does."""
        job, context = self._search.proposed(self.config), self._context
        try:
            judged = context.get_or_compute_locked(job).value
        except RumRayError as error:
            # Trying again cannot mend it: the search ends, and the driver raises it.
            names = (cls.__name__ for cls in type(error).__mro__)
            told = f"{next(name for name in names if hasattr(errors, name))}: {error}"
            return {"objective": INFEASIBLE, "cost": math.inf, "error": told, "done": True}
        before = context.store.provenance(job.key(context))["time"] < self._began
        found = {key: judged[key] for key in ("objective", "cost")}
        return {**found, "before": before, "done": True}


class _Stop(tune.Stopper):
    """Ends the whole search with the first trial that cannot be judged.

    Attributes:
        over: whether there was one.
    """

    over = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Look at a result; its own trial is over anyhow."""
        self.over = self.over or "error" in result
        return False

    def stop_all(self) -> bool:
        """Return whether no other trial shall run."""
        return self.over


class _Watch(tune.Callback):
    """Tells the progress after each trial, and stops at one that has failed too often."""

    def __init__(self, progress: Tell, stop: _Stop) -> None:
        self._progress, self._stop = progress, stop
        self._done, self._before, self._best = 0, 0, float("-inf")

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
        """Count the trial, unless it has an error."""
        if "error" in trial.last_result:
            return
        self._done += 1
        self._before += trial.last_result.get("before", False)
        self._best = max(self._best, trial.last_result.get("objective", float("-inf")))
        self._progress(self._done, self._before, self._best)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the search."""
        self._stop.over = True
