"""Searches in Ray Tune: `Proposals` proposes, trials judge, and the store is the ledger.

A trial that was judged before, in this run or in one that was killed, is read from the store: a
search that is started again replays itself and goes on.
"""

import math
import time
import uuid
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from rum_ray import errors
from rum_ray.errors import RumRayError, StalledError
from rum_ray.jobs import Context, SearchJob
from rum_ray.jobs.proposals import Judged, Proposals
from rum_ray.search.objective import INFEASIBLE
from rum_ray.study.progress import ProgressState


def run(
    search: SearchJob,
    context: Context,
    workers: int,
    on_progress: Callable[[ProgressState], object],
    gpus: float = 0.0,
) -> None:
    """Run a search and save its trials, in the order of proposal.

    Args:
        search: to run.
        context: the data and the store.
        workers: trials at a time; this changes no result.
        on_progress: receives the progress after each trial.
        gpus: share of a GPU per trial.
    """
    config, stop = search.config, _Stop()
    proposals = Proposals(search, len(context.bundle.train))
    judge = tune.with_parameters(_Judge, search=search, context=context, began=time.time())
    results = tune.Tuner(
        tune.with_resources(judge, {"cpu": 1, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            num_samples=config.trials,
            search_alg=_ProposalSearcher(proposals),
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
            callbacks=[_Watch(on_progress, config.trials, stop)],
        ),
    ).fit()
    for number in range(len(results)):
        kind, _, message = ((results[number].metrics or {}).get("error") or "").partition(": ")
        if kind:
            raise getattr(errors, kind)(message)
    if results.errors:
        raise StalledError(f"search {search.space.name} failed: {results.errors[0]}")
    search.save(context, [each.answers for each in proposals.made], proposals.drawn_again)


class _ProposalSearcher(Searcher):
    """Lets Tune ask `Proposals`."""

    def __init__(self, proposals: Proposals) -> None:
        super().__init__(metric="objective", mode="max")
        self._proposals = proposals
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the answers of the next proposal; None while a batch is being judged."""
        proposal = self._proposals.propose()
        if proposal is None:
            return None
        self._numbers[trial_id] = proposal.number
        return dict(proposal.answers)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the result of a trial on."""
        judged = None
        if result and not error:
            judged = Judged(result["objective"], result["cost"])
        self._proposals.tell(self._numbers[trial_id], judged)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search that is started again is replayed."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a search that is started again is replayed."""


class _Judge(tune.Trainable):
    """An actor that judges one proposal after another; data and originals are loaded once."""

    def setup(  # type: ignore[override]  # Tune gives it the parameters of `with_parameters`.
        self, config: dict[str, Any], search: SearchJob, context: Context, began: float
    ) -> None:
        """Keep the search and its context."""
        del config
        self._search, self._context, self._began = search, context, began

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Return True: this process takes another proposal."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Judge the proposal in `self.config`; a trial has one step."""
        job, context = self._search.proposed(self.config), self._context
        try:
            judged = context.get_or_compute_locked(job).value
        except RumRayError as error:
            # The error is permanent: it ends the search, and the driver raises it.
            names = (cls.__name__ for cls in type(error).__mro__)
            message = f"{next(name for name in names if hasattr(errors, name))}: {error}"
            return {"objective": INFEASIBLE, "cost": math.inf, "error": message, "done": True}
        before = context.store.provenance(job.key(context))["time"] < self._began
        found = {key: judged[key] for key in ("objective", "cost")}
        return {**found, "before": before, "done": True}


class _Stop(tune.Stopper):
    """Ends the whole search with the first trial that cannot be judged.

    Attributes:
        over: True if there was one.
    """

    over = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Look at a result; its own trial is over anyway."""
        self.over = self.over or "error" in result
        return False

    def stop_all(self) -> bool:
        """Return True if no other trial is to run."""
        return self.over


class _Watch(tune.Callback):
    """Reports progress after each trial, and ends the search at one that fails too often."""

    def __init__(
        self, on_progress: Callable[[ProgressState], object], total: int, stop: _Stop
    ) -> None:
        self._on_progress, self._total, self._stop = on_progress, total, stop
        self._done, self._before, self._best = 0, 0, float("-inf")
        self._began = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves its callbacks, but progress belongs to this process."""
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
        seconds = time.monotonic() - self._began
        self._on_progress(
            ProgressState(self._done, self._total, self._before, seconds, best=self._best)
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the search."""
        self._stop.over = True
