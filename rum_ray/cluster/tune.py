"""Searches in Ray Tune: `Proposals` proposes, the pool's workers judge, and Tune keeps the books.

A trial asks for no CPU of its own: it hands its answers to the queue and waits for the result. The
store keeps the result of each trial, so a search that was killed resumes by replay: it makes the
same proposals again, and those that were judged are cache hits.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from rum_ray.cluster.pool import Pool
from rum_ray.cluster.trial import HandedOver
from rum_ray.cluster.work import TrialWork
from rum_ray.errors import RumRayError, StalledError
from rum_ray.jobs import Context, SearchJob
from rum_ray.jobs.proposals import Judged, Proposals
from rum_ray.study.progress import ProgressState

LOOK_SECONDS = 2.0
MAX_FAILURES = 3
"""The process of a trial may die this often; the trial waits again for the same result."""


def run(
    name: str,
    search: SearchJob,
    context: Context,
    pool: Pool,
    on_progress: Callable[[ProgressState], object],
) -> None:
    """Run a search and save its trials, in the order of proposal.

    Args:
        name: name of the stage, for messages.
        search: the space and its budget.
        context: the data and the store.
        pool: the workers that judge; results do not depend on their number.
        on_progress: receives the progress after each trial.

    Raises:
        RumRayError: a trial failed permanently; this ends the search.
        StalledError: the pool has no workers, or a trial raised in each of its attempts.
    """
    config = search.config
    proposals = Proposals(search, len(context.bundle.train))
    place = pool.place(context, search.originals[0].recipe)
    work = TrialWork(name, place, search, time.time())
    watch = _Watch(on_progress, config.trials, pool)
    with pool.stage(name, [], (), work, min(config.batch, pool.config.workers)):
        pool.wait_for_workers()
        results = _tuner(name, search, context, pool, proposals, watch).fit()
        errors = pool.errors()
    for error in [*errors, *watch.errors]:
        raise error
    if len(proposals.made) < config.trials:
        # Tune may have caught the signal.
        raise KeyboardInterrupt
    if results.errors:
        raise StalledError(f"search {search.space.name} failed: {_reason(results.errors[0])}.")
    search.save(context, [each.answers for each in proposals.made], proposals.drawn_again)


def _tuner(
    name: str,
    search: SearchJob,
    context: Context,
    pool: Pool,
    proposals: Proposals,
    watch: "_Watch",
) -> tune.Tuner:
    """Return the run of Tune that passes proposals to the queue, a batch at a time.

    At most as many trials run at a time as there are workers. Tune gives a process that is free to
    the next trial of the batch instead of starting another.
    """
    judge = tune.with_parameters(HandedOver, queue=pool.queue, name=f"{pool.title}-{name}")
    return tune.Tuner(
        tune.with_resources(judge, {"cpu": pool.trial_cpus}),
        tune_config=tune.TuneConfig(
            num_samples=search.config.trials,
            search_alg=_ProposalSearcher(proposals),
            # Without a limit Tune keeps one trial pending, so it starts one process at a time.
            max_concurrent_trials=min(search.config.batch, pool.config.workers),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{search.space.name}-{uuid.uuid4().hex[:8]}",
            storage_path=context.store.bookkeeping,
            verbose=0,
            stop=watch,
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Report(watch)],
        ),
    )


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
        if result and not error and "error" not in result:
            judged = Judged(result["objective"], result["cost"])
        self._proposals.tell(self._numbers[trial_id], judged)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""


class _Watch(tune.Stopper):
    """Counts the trials, looks after the pool, and ends the search at a permanent error.

    Attributes:
        errors: what ended the search, beside the errors of its trials.
    """

    def __init__(
        self, on_progress: Callable[[ProgressState], object], total: int, pool: Pool
    ) -> None:
        self._on_progress, self._total, self._pool = on_progress, total, pool
        self._done, self._before, self._best = 0, 0, float("-inf")
        self._began = self._looked = time.monotonic()
        self._failed = False
        self.errors: list[RumRayError] = []

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves its stopper, but the pool belongs to this process."""
        return {}

    def count(self, result: dict[str, Any]) -> None:
        """Count a trial and report the progress, unless the trial has a permanent error."""
        if "error" in result:
            self._failed = True
            return
        self._done += 1
        self._before += result.get("before", False)
        self._best = max(self._best, result.get("objective", float("-inf")))
        seconds = time.monotonic() - self._began
        self._on_progress(
            ProgressState(self._done, self._total, self._before, seconds, best=self._best)
        )

    def look(self) -> None:
        """Look after the shards of the pool from time to time."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                self._pool.look()
            except RumRayError as error:
                self.errors.append(error)

    def fail(self) -> None:
        """End the search, because the process of a trial died again and again."""
        self._failed = True

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False, because each trial ends itself."""
        return False

    def stop_all(self) -> bool:
        """Return True if no other trial may run."""
        return self._failed or bool(self.errors)


class _Report(tune.Callback):
    """Passes Tune's events on to the watch."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves its callbacks, but progress belongs to this process."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look after the pool; Tune calls this several times per second."""
        self._watch.look()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count the trial."""
        self._watch.count(trial.last_result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the search."""
        self._watch.fail()
