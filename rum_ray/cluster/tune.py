"""Searches in Ray Tune: `Searches` proposes, the pool's workers judge, and Tune keeps the books.

A trial of Tune is one plan on one seed. It asks for no CPU of its own, and waits for a result. The
units themselves are handed to the queue as soon as they are proposed, a batch at a time, so workers
never wait for Tune. One process takes all results, one trial after another, those first that are
there: with several, Tune would start a process for each trial that waits, and drop it as soon as
another one is free. All searches share one run, so one fills the time in which another waits for
its batch. The store keeps the result of each unit, so searches that were killed resume by
replay: they make the same proposals again, and those that were judged are cache hits.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from rum_ray.cluster.pool import Pool
from rum_ray.cluster.shards import STALL_SECONDS
from rum_ray.cluster.trial import HandedOver
from rum_ray.cluster.work import TrialWork
from rum_ray.errors import RumRayError, StalledError
from rum_ray.jobs import Context, SearchJob
from rum_ray.jobs.ledger import Result
from rum_ray.study.progress import ProgressState
from rum_ray.study.searches import Request, Searches

LOOK_SECONDS = 2.0
TRIAL_CPUS = 0.001
"""CPUs of a trial, which only waits; Tune takes no 0."""
MAX_FAILURES = 3
"""The process of a trial may die this often; the trial waits again for the same result."""


def run(
    name: str,
    searches: Sequence[SearchJob],
    context: Context,
    pool: Pool,
    on_progress: Callable[[ProgressState], object],
) -> None:
    """Run searches and save their ledgers.

    Args:
        name: name of the stage, for messages.
        searches: the spaces and their budgets; parents come before their children.
        context: the data and the store.
        pool: the workers that judge; results do not depend on their number.
        on_progress: receives the progress after each unit.

    Raises:
        RumRayError: a unit failed permanently; this ends the searches.
        StalledError: the pool has no workers, or a unit raised in each of its attempts.
    """
    running = Searches(searches, context)
    place = pool.place(context, searches[0].originals[0].recipe)
    work = TrialWork(name, place, searches, time.time())
    watch = _Watch(on_progress, running, pool)
    with pool.stage(name, [], (), work, pool.config.workers):
        pool.wait_for_workers()
        results = _tuner(name, context, pool, running, watch).fit()
        errors = pool.errors()
    for error in [*errors, *watch.errors]:
        raise error
    if results.errors:
        raise StalledError(f"{name} failed: {_reason(results.errors[0])}.")
    if not running.finished:
        # Tune may have caught the signal.
        raise KeyboardInterrupt


def _tuner(
    name: str, context: Context, pool: Pool, running: Searches, watch: "_Watch"
) -> tune.Tuner:
    """Return the run of Tune, whose trials wait for the results of units in one process."""
    judge = tune.with_parameters(HandedOver, queue=pool.queue, name=f"{pool.title}-{name}")
    return tune.Tuner(
        tune.with_resources(judge, {"cpu": TRIAL_CPUS}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            max_concurrent_trials=1,
            search_alg=_UnitSearcher(running, pool, watch),
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=f"{name}-{uuid.uuid4().hex[:8]}",
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


class _UnitSearcher(Searcher):
    """The searcher of Tune that passes the units of `Searches` on."""

    def __init__(self, running: Searches, pool: Pool, watch: "_Watch") -> None:
        super().__init__(metric="objective", mode="max")
        self._running, self._pool, self._watch = running, pool, watch
        self._handed_in: list[tuple[Request, int]] = []
        self._requests: dict[str, Request] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves its searcher, but the pool belongs to this process."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the next unit; None while all searches wait for results."""
        if self._running.finished:
            return Searcher.FINISHED
        self._hand_in()
        if not self._handed_in:
            return None
        first = self._pool.first_settled([number for _, number in self._handed_in])
        request, number = self._handed_in.pop(first)
        self._requests[trial_id] = request
        unit, search = request.proposal.unit, self._running.searches[request.search]
        # Tune's tables show these values; the unit itself is in the queue.
        return {"job": number, "space": search.name, "trial": unit.trial, "seed": unit.seed}

    def _hand_in(self) -> None:
        """Hand all units that are proposed to the queue."""
        requests = [*iter(self._running.propose, None)]
        payloads = [
            {
                "search": request.search,
                "seed": request.proposal.unit.seed,
                "answers": dict(request.proposal.answers),
            }
            for request in requests
        ]
        if requests:
            self._handed_in += zip(requests, self._pool.hand_in(payloads), strict=True)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record the result of a unit; one that failed ends the searches."""
        request = self._requests.pop(trial_id)
        if error or not result or "error" in result:
            self._watch.fail()
            return
        self._running.tell(request, Result.read(json.loads(result["result"])))
        self._watch.count(bool(result.get("before")))

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a search resumes by replay."""


class _Watch(tune.Stopper):
    """Reports the progress, looks after the pool, and ends the run at a permanent error.

    Attributes:
        errors: what ended the run, beside the errors of its units.
    """

    def __init__(
        self, on_progress: Callable[[ProgressState], object], running: Searches, pool: Pool
    ) -> None:
        self._on_progress, self._running, self._pool = on_progress, running, pool
        self._before = self._told = 0
        self._began = self._looked = self._heard = time.monotonic()
        self._failed = False
        self.errors: list[RumRayError] = []

    def __getstate__(self) -> dict[str, Any]:
        """Pickle nothing: Tune saves its stopper, but the pool belongs to this process."""
        return {}

    def count(self, before: bool) -> None:
        """Report the progress after a unit.

        Args:
            before: True if its result was in the store before this start.
        """
        self._before += before
        self._told += 1
        self._on_progress(self._running.state(self._before, time.monotonic() - self._began))

    def look(self, is_running: bool) -> None:
        """Look after the shards of the pool from time to time.

        Args:
            is_running: True if the process of a trial is there.
        """
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            try:
                done = self._pool.look().done
                self._check(0 if is_running else done)
            except RumRayError as error:
                self.errors.append(error)

    def _check(self, done: int) -> None:
        """Raise StalledError if results of units have waited for long for a trial to take them."""
        if done <= self._told:
            self._heard = self._looked
        elif self._looked - self._heard > STALL_SECONDS:
            raise StalledError(
                f"results of {done - self._told} units have waited for {STALL_SECONDS:.0f} s, and "
                "no trial of Ray Tune could start: the cluster has no room for one. They are in "
                "the store. Run the same command when there is room."
            )

    def fail(self) -> None:
        """End the run, because a unit failed."""
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
        self._watch.look(any(trial.status == Trial.RUNNING for trial in trials))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the run: the process of a trial died again and again."""
        self._watch.fail()
