"""Searches in Ray Tune: `Proposals` proposes, and the trials judge.

The store keeps the result of each trial, so a search that was killed resumes by replay: it makes
the same proposals again, and those that were judged are cache hits.
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

MAX_FAILURES = 3
"""A trial that raises an unexpected error is run again this many times."""


def run(
    search: SearchJob,
    context: Context,
    workers: int,
    on_progress: Callable[[ProgressState], object],
    gpus: float = 0.0,
) -> None:
    """Run a search and save its trials, in the order of proposal.

    Args:
        search: the space and its budget.
        context: the data and the store.
        workers: trials that run at once; results do not depend on it.
        on_progress: receives the progress after each trial.
        gpus: share of a GPU per trial.

    Raises:
        RumRayError: a trial failed permanently; this ends the search.
        StalledError: a trial failed in each of 4 attempts.
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
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Monitor(on_progress, config.trials, stop)],
        ),
    ).fit()
    for number in range(len(results)):
        kind, _, message = ((results[number].metrics or {}).get("error") or "").partition(": ")
        if kind:
            raise getattr(errors, kind)(message)
    if results.errors:
        raise StalledError(f"search {search.space.name} failed: {_reason(results.errors[0])}.")
    search.save(context, [each.answers for each in proposals.made], proposals.drawn_again)


def _reason(error: BaseException) -> str:
    """Return the cause of a trial's error in one line; Ray's text of it is a traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].rstrip(".")


class _ProposalSearcher(Searcher):
    """The searcher of Tune that passes `Proposals` on."""

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
        """Report the result of a trial; None if it failed."""
        judged = None
        if result and not error:
            judged = Judged(result["objective"], result["cost"])
        self._proposals.tell(self._numbers[trial_id], judged)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""


class _Judge(tune.Trainable):
    """An actor that judges one proposal after another; it loads data and originals once."""

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
    """Ends the whole search at the first trial with a permanent error.

    Attributes:
        ended: True if there was one.
    """

    ended = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note a permanent error; return False, because each trial ends itself."""
        self.ended = self.ended or "error" in result
        return False

    def stop_all(self) -> bool:
        """Return True if no other trial may run."""
        return self.ended


class _Monitor(tune.Callback):
    """Reports progress after each trial; ends the search when a trial has failed every attempt."""

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
        """Count the trial, unless it has a permanent error."""
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
        self._stop.ended = True
