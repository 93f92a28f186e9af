"""The commands: each runs its stages and returns the answer that is printed."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rum_ray import api
from rum_ray.cli.console import Bars, redirect_output
from rum_ray.cli.place import check_forecast, check_place
from rum_ray.experiment import Experiment
from rum_ray.files import write_bytes
from rum_ray.jobs import format_weights
from rum_ray.report.public import check_public, write_public
from rum_ray.report.track import Tracker
from rum_ray.results.load import (
    load_examples,
    load_forget_set,
    load_methods,
    load_searches,
    stage_summary,
)
from rum_ray.results.parquet import score_table, trial_table
from rum_ray.results.report import Report
from rum_ray.results.rows import row_summaries
from rum_ray.results.scores import precision_summary, subset_summaries
from rum_ray.results.searches import search_summaries
from rum_ray.store import Store
from rum_ray.study.calibration import Calibration, calibrate
from rum_ray.study.estimate import estimate, together
from rum_ray.study.executor import Executor, LocalExecutor, check_address
from rum_ray.study.forecast import counts, forecast, summed
from rum_ray.study.methods import method_rows, plan_row
from rum_ray.study.output_folder import lock_folder, prepare_store, write_plans
from rum_ray.study.progress import Journal, Progress
from rum_ray.study.stages import COMMANDS, check_finished
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock

if TYPE_CHECKING:
    from rum_ray.cli.flags import Flags

Answer = dict[str, Any]
"""Plain values and parts of a summary, by name."""
LOG = "third-party.log"
PLAN_ONLY = ("unlearn", "evaluate")
"""Commands that run the plan of the file alone."""


@dataclass(frozen=True)
class Options:
    """The values of the flags.

    Attributes:
        out: folder of the report; None is out/<name>.
        store: folder or URI of artifacts.
        address: of the Ray cluster, or "none".
        dashboard: True starts the dashboard of a local cluster.
        tracker: receives the report, if there is one.
        insecure: True allows a Ray cluster that asks for no token.
        public: True writes a public copy of the report.
    """

    out: Path | None = None
    store: str = "store"
    address: str = "local"
    dashboard: bool = False
    tracker: Tracker | None = None
    insecure: bool = False
    public: bool = False

    @classmethod
    def of(cls, flags: "Flags", track: str | None = None) -> "Options":
        """Return the options of flags; `track` names where the report goes, too."""
        tracker = None if track is None else Tracker.parse(track)
        common = flags.out, flags.store, flags.address, flags.dashboard
        return cls(*common, tracker, flags.insecure)

    def __post_init__(self) -> None:
        check_address(self.address)

    def folder(self, experiment: Experiment) -> Path:
        """Return the output folder of an experiment."""
        return self.out or Path("out") / experiment.name


def open_studies(
    experiment: Experiment, options: Options, command: str, is_forecast: bool
) -> Iterator[Study]:
    """Read the data of each repeat and check everything that can be checked; write nothing."""

    def opened(each: Experiment) -> Study:
        study = api.open_study(
            each, options.store, plan_only=command in PLAN_ONLY, forgets=command != "score"
        )
        _check(study, command)
        if options.public:
            check_public(len(study.forget))
        return study

    if is_forecast:
        check_forecast(experiment, options.address)
    elif COMMANDS[command]:
        check_place(experiment, options.address, options.insecure)
    return api.open_repeats(experiment, opened)


def do(command: str, experiment: Experiment, studies: Iterable[Study], options: Options) -> Answer:
    """Run the stages of a command in each study, and return the answer."""
    out = options.folder(experiment)
    with _session(experiment, options) as (progress, executor):
        if command in REPORTS:
            report = api.report_repeats(experiment, studies, command, progress, executor, out)
            return _published(report, experiment, options, progress)

        def finish(study: Study, folder: Path | None, clock: Clock) -> Answer:
            return ANSWERS[command](study, folder or out, clock)

        common = experiment, studies, command, progress, executor, out
        answers = [*api.run_repeats(*common, finish)]
    return answers[0] if experiment.repeats == 1 else {"studies": answers}


@contextlib.contextmanager
def _session(experiment: Experiment, options: Options) -> Iterator[tuple[Progress, Executor]]:
    """Hold the output folder, and yield the progress and the executor of a command."""
    out = options.folder(experiment)
    prepare_store(Store(options.store))
    with lock_folder(out, experiment), redirect_output(out / LOG) as terminal:
        bars = Bars(terminal)

        try:
            journal = Journal(out / "progress.jsonl", bars)
            with make_executor(experiment, options, journal.say) as executor:
                yield journal, executor
        finally:
            bars.close()


def make_executor(experiment: Experiment, options: Options, say: Callable[[str], None]) -> Executor:
    """Return the executor at an address."""
    if options.address == "none":
        return LocalExecutor(experiment.cluster.workers)
    from rum_ray.cluster.executor import RayExecutor

    return RayExecutor(
        options.address, experiment.cluster, options.dashboard, say, options.insecure
    )


def dry_run(studies: Iterable[Study], command: str) -> Answer:
    """Return the forecast of a command; with repeats, the sum over them and their number."""
    rates = _once()
    found = [
        [counts(line, study.experiment.cluster.workers) for line in forecast(study, command, rates)]
        for study in studies
    ]
    return {"forecast": summed(found), **_repeats(len(found))}


def _once() -> Callable[[Study], Calibration]:
    """Return a calibration that measures once: repeats train the same models on as many rows."""
    rates: list[Calibration] = []

    def measured(study: Study) -> Calibration:
        rates[:] = rates or [calibrate(study)]
        return rates[0]

    return measured


def _repeats(number: int) -> Answer:
    """Return the number of repeats, if there are several."""
    return {"repeats": number} if number > 1 else {}


def estimated(studies: Iterable[Study], command: str, price: float | None) -> Answer:
    """Return the forecast of a command with its bytes, its time by number of devices and a price.

    With repeats, it is the sum over them, and states their number.

    Raises:
        ConfigError: the price is negative.
    """
    rates = _once()
    found = [estimate(study, command, price, rates) for study in studies]
    return {**asdict(together(found)), **_repeats(len(found))}


def _check(study: Study, command: str) -> None:
    """Raise an error if the experiment lacks a key or a result that a command needs."""
    if command in PLAN_ONLY:
        study.require_plan()
    elif command == "tune":
        study.require_search()
    elif command == "report":
        check_finished(study)


def train(study: Study, out: Path, clock: Clock) -> Answer:
    """Train the original and the retrained models."""
    models = {"originals": study.originals, "retrained": study.retrained}
    return {
        name: [study.context.store.path(job.key(study.context)) for job in jobs]
        for name, jobs in models.items()
    }


def score(study: Study, out: Path, clock: Clock) -> Answer:
    """Score the training set."""
    path, examples = out / "scores.parquet", load_examples(study)
    write_bytes(path, score_table(examples).to_parquet(None, index=False))
    values = study.scores.values
    return {
        "scores": str(path),
        "name": study.scores.name,
        "models": len(study.scoring.pool) or None,
        "precision": precision_summary(examples),
        "examples": len(values),
        "unknown": int(np.isnan(values).sum()),
        "mean": float(np.nanmean(values)),
        "standard_error": _mean(study.scores.standard_errors),
        "above_half": int((values > 0.5).sum()),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    """Return the mean of the known values, if any is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def refine(study: Study, out: Path, clock: Clock) -> Answer:
    """Choose the forget set, split it into subsets, and measure their entanglement."""
    path = out / "scores.parquet"
    examples, forget = load_examples(study), load_forget_set(study)
    write_bytes(path, score_table(examples, forget).to_parquet(None, index=False))
    return {"scores": str(path), "subsets": subset_summaries(examples, forget)}


def unlearn(study: Study, out: Path, clock: Clock) -> Answer:
    """Run the plan of the file on the original of every seed, and write the unlearned models."""
    paths = []
    for seed, job in zip(study.experiment.seeds, plan_row(study).jobs, strict=True):
        path = out / "unlearned" / f"seed{seed}.safetensors"
        write_bytes(path, format_weights(study.context.load(job)))
        paths.append(str(path))
    return {"unlearned": paths}


def evaluate(study: Study, out: Path, clock: Clock) -> Answer:
    """Measure the plan of the file, the original and the noise floor against retrained models."""
    rows = row_summaries(load_methods(study, method_rows(study)))
    return {"attack": study.experiment.evaluate.attack, "rows": rows}


def tune(study: Study, out: Path, clock: Clock) -> Answer:
    """Search the assignment, and write the trials and the plan that was found."""
    stages = [stage_summary(stage) for stage in clock.stages.values()]
    searches = load_searches(study)
    path = out / "trials.parquet"
    write_bytes(path, trial_table(searches).to_parquet(None, index=False))
    return {
        "plan": write_plans(out, study),
        "trials": str(path),
        "searches": search_summaries(searches, stages),
    }


def _published(
    report: Report, experiment: Experiment, options: Options, progress: Progress
) -> Answer:
    """Track a written report, write its public copy if wanted, and return the answer of either."""
    out = options.folder(experiment)
    if options.tracker is not None:
        warning = options.tracker.send(report.summary, experiment, out)
        if warning is not None:
            progress.say(warning)
    if options.public:
        out, report = write_public(out, report, experiment)
    return {"out": str(out), "report": str(out / "report.html"), "answer": report.summary}


REPORTS = ("run", "ladder", "report")
"""Commands that write a report."""
ANSWERS: Mapping[str, Callable[[Study, Path, Clock], Answer]] = {
    "train": train,
    "score": score,
    "refine": refine,
    "unlearn": unlearn,
    "evaluate": evaluate,
    "tune": tune,
}
"""The answers of the other commands, by the study, its folder and its stage times."""
