"""The commands: each runs its stages and returns the answer that is printed."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray import api
from rum_ray.cli.console import Bars, redirect_output
from rum_ray.experiment import Experiment
from rum_ray.files import write_bytes
from rum_ray.jobs import format_weights
from rum_ray.report.track import Tracker
from rum_ray.results.load import (
    load_examples,
    load_forget_set,
    load_methods,
    load_searches,
    stage_summary,
)
from rum_ray.results.parquet import score_table, trial_table
from rum_ray.results.rows import row_summaries
from rum_ray.results.scores import precision_summary, subset_summaries
from rum_ray.results.searches import search_summaries
from rum_ray.study.estimate import estimate
from rum_ray.study.executor import Executor, LocalExecutor
from rum_ray.study.forecast import counts, expect, forecast
from rum_ray.study.methods import method_rows, plan_row
from rum_ray.study.output_folder import check_writable, lock_folder, write_plans
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import Journal
from rum_ray.study.stages import check_finished
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock

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
    """

    out: Path | None = None
    store: str = "store"
    address: str = "local"
    dashboard: bool = False
    tracker: Tracker | None = None

    def folder(self, experiment: Experiment) -> Path:
        """Return the output folder of an experiment."""
        return self.out or Path("out") / experiment.name


def open_study(experiment: Experiment, options: Options, command: str = "run") -> Study:
    """Read the data of an experiment and check everything that can be checked; write nothing."""
    api.check_gpu(experiment, options.address)
    return api.open_study(
        experiment, options.store, plan_only=command in PLAN_ONLY, forgets=command != "score"
    )


def _executor(study: Study, options: Options, say: Callable[[str], None]) -> Executor:
    """Return the executor at an address."""
    config = study.experiment.cluster
    if options.address == "none":
        return LocalExecutor(config.workers)
    from rum_ray.cluster.executor import RayExecutor

    return RayExecutor(options.address, config, options.dashboard, say)


@contextlib.contextmanager
def _running(study: Study, options: Options, command: str) -> Iterator[Pipeline]:
    """Hold the output folder, and yield the pipeline after it has run the stages of a command."""
    out = options.folder(study.experiment)
    check_writable(study.context.store)
    with lock_folder(out, study.experiment), redirect_output(out / LOG) as terminal:
        bars = Bars(terminal)

        try:
            journal, clock = Journal(out / "progress.jsonl", bars), Clock(out / "stages.json")
            expect(study, command, clock)
            with _executor(study, options, journal.say) as executor:
                pipeline = Pipeline(study, executor, journal, clock)
                pipeline.run(command)
                yield pipeline
        finally:
            bars.close()


def _run(study: Study, options: Options, command: str) -> Clock:
    """Run the stages of a command and return their times."""
    with _running(study, options, command) as pipeline:
        return pipeline.clock


def run(study: Study, options: Options) -> Answer:
    """Run everything that is missing, then write the report."""
    with _running(study, options, "run") as pipeline:
        return _publish(pipeline, options)


def dry_run(study: Study, command: str) -> Answer:
    """Return the forecast of a command."""
    _check(study, command)
    workers = study.experiment.cluster.workers
    return {"forecast": [counts(line, workers) for line in forecast(study, command)]}


def estimated(study: Study, command: str, price: float | None) -> Answer:
    """Return the forecast of a command with its bytes, its time by number of devices and a price.

    Raises:
        ConfigError: the price is negative.
    """
    _check(study, command)
    return asdict(estimate(study, command, price))


def _check(study: Study, command: str) -> None:
    """Raise an error if the experiment lacks a key or a result that a command needs."""
    if command in PLAN_ONLY:
        study.require_plan()
    elif command == "tune":
        study.require_search()
    elif command == "report":
        check_finished(study)


def report(study: Study, options: Options) -> Answer:
    """Write the report of a finished study."""
    check_finished(study)
    with _running(study, options, "report") as pipeline:
        return _publish(pipeline, options)


def train(study: Study, options: Options) -> Answer:
    """Train the original and the retrained models."""
    _run(study, options, "train")
    models = {"originals": study.originals, "retrained": study.retrained}
    return {
        name: [study.context.store.path(job.key(study.context)) for job in jobs]
        for name, jobs in models.items()
    }


def score(study: Study, options: Options) -> Answer:
    """Score the training set."""
    _run(study, options, "score")
    path, examples = options.folder(study.experiment) / "scores.parquet", load_examples(study)
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


def refine(study: Study, options: Options) -> Answer:
    """Choose the forget set, split it into subsets, and measure their entanglement."""
    _run(study, options, "refine")
    path = options.folder(study.experiment) / "scores.parquet"
    examples, forget = load_examples(study), load_forget_set(study)
    write_bytes(path, score_table(examples, forget).to_parquet(None, index=False))
    return {"scores": str(path), "subsets": subset_summaries(examples, forget)}


def unlearn(study: Study, options: Options) -> Answer:
    """Run the plan of the file on the original of every seed, and write the unlearned models."""
    study.require_plan()
    _run(study, options, "unlearn")
    out = options.folder(study.experiment)
    paths = []
    for seed, job in zip(study.experiment.seeds, plan_row(study).jobs, strict=True):
        path = out / "unlearned" / f"seed{seed}.safetensors"
        write_bytes(path, format_weights(study.context.load(job)))
        paths.append(str(path))
    return {"unlearned": paths}


def evaluate(study: Study, options: Options) -> Answer:
    """Measure the plan of the file, the original and the noise floor against retrained models."""
    study.require_plan()
    _run(study, options, "evaluate")
    rows = row_summaries(load_methods(study, method_rows(study)))
    return {"attack": study.experiment.evaluate.attack, "rows": rows}


def tune(study: Study, options: Options) -> Answer:
    """Search the assignment, and write the trials and the plan that was found."""
    study.require_search()
    clock = _run(study, options, "tune")
    stages = [stage_summary(stage) for stage in clock.stages.values()]
    out, searches = options.folder(study.experiment), load_searches(study)
    path = out / "trials.parquet"
    write_bytes(path, trial_table(searches).to_parquet(None, index=False))
    return {
        "plan": write_plans(out, study),
        "trials": str(path),
        "searches": search_summaries(searches, stages),
    }


def _publish(pipeline: Pipeline, options: Options) -> Answer:
    """Write the report, track it, and return the answer of `run` and `report`."""
    experiment = pipeline.study.experiment
    out = options.folder(experiment)
    report = api.make_report(pipeline.study, pipeline.clock)
    api.publish(out, report, pipeline.study)
    if options.tracker is not None:
        warning = options.tracker.send(report.summary, experiment, out)
        if warning is not None:
            pipeline.progress.say(warning)
    return {"out": str(out), "report": str(out / "report.html"), "answer": report.summary}


COMMANDS: Mapping[str, Callable[[Study, Options], Answer]] = {
    "run": run,
    "train": train,
    "score": score,
    "refine": refine,
    "unlearn": unlearn,
    "evaluate": evaluate,
    "tune": tune,
    "ladder": run,
    "report": report,
}
