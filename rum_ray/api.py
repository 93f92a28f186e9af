"""Whole experiments from Python: `rr.run` and `rr.read_report`."""

import contextlib
from pathlib import Path

import torch

from rum_ray import config
from rum_ray.experiment import Experiment
from rum_ray.jobs import Context
from rum_ray.results.load import load_outcome
from rum_ray.results.parquet import score_table, trial_table
from rum_ray.results.report import Report
from rum_ray.results.summary import summarize
from rum_ray.store import Store
from rum_ray.study.executor import Executor, LocalExecutor
from rum_ray.study.output_folder import check_writable, lock_folder, write_plans
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import Journal, LoggedProgress, Progress
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.study.validation import check, check_share


def run(
    experiment: Experiment | str | Path,
    *,
    out: str | Path | None = None,
    store: str | Path = "store",
    executor: Executor | None = None,
) -> Report:
    """Run an experiment and return its report; results in the store are reused.

    Progress goes to the logger `rum_ray` at level INFO.

    Args:
        experiment: a value, or the path of a YAML file.
        out: folder for report.html, report.md, report.json, scores.parquet, trials.parquet and
            plan.yaml; None writes no report.
        store: folder or URI of artifacts.
        executor: where the jobs run; by default `LocalExecutor()`, in this process and without
            Ray. Results have the same bits with every executor.

    Raises:
        RumRayError: one of `rum_ray.errors`, as on the command line.

    Example:
        >>> import tempfile
        >>> import rum_ray as rr
        >>> from rum_ray import config
        >>> experiment = config.parse({
        ...     "name": "small",
        ...     "data": {"name": "digits"},
        ...     "recipe": {"model": "mlp", "epochs": 1},
        ...     "score": {"name": "confidence"},
        ...     "forget": {"size": 30},
        ...     "compare": ["finetune"],
        ... })
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = rr.run(experiment, store=folder)
        >>> list(report.rows["method"].unique())[:3]
        ['retrained', 'retrained_again', 'original']
    """
    value = experiment if isinstance(experiment, Experiment) else config.load(experiment)
    study, folder = open_study(value, store), None if out is None else Path(out)
    check_writable(study.context.store)
    claim = contextlib.nullcontext() if folder is None else lock_folder(folder, value)
    with claim, executor or LocalExecutor() as running:
        progress: Progress = LoggedProgress()
        if folder is not None:
            progress = Journal(folder / "progress.jsonl", progress)
        clock = Clock(None if folder is None else folder / "stages.json")
        Pipeline(study, running, progress, clock).run("run")
        report = make_report(study, clock)
        if folder is not None:
            publish(folder, report, study)
    return report


def open_study(
    experiment: Experiment, store: str | Path, *, plan_only: bool = False, forgets: bool = True
) -> Study:
    """Read the data of an experiment and check everything that can be checked; write nothing.

    Args:
        experiment: to open.
        store: folder or URI of artifacts.
        plan_only: True measures the plan of the file alone.
        forgets: False if the forget set is not needed; then it is not checked.

    Raises:
        RumRayError: the experiment does not fit its data.
    """
    # The device belongs to the keys, also where the driver has none of the workers' kind.
    device = torch.device("cuda" if experiment.cluster.gpus_per_worker else "cpu")
    study = Study(experiment, Context(experiment.load_data(), Store(store), device), plan_only)
    check_share(study)
    if forgets:
        check(study)
    return study


def make_report(study: Study, clock: Clock) -> Report:
    """Return the report of a finished study; its results are read from the store once."""
    outcome = load_outcome(study, clock.stages.values())
    scores = score_table(outcome.examples, outcome.forget)
    return Report(summarize(outcome), scores, trial_table(outcome.searches))


def publish(folder: Path, report: Report, study: Study) -> None:
    """Write the files of a report, and the plans that its searches picked."""
    # Matplotlib and the page take half a second to import, and few commands draw.
    from rum_ray.report.files import write
    from rum_ray.report.gallery import Gallery

    write(folder, report, Gallery.of(study.context.bundle, study.scores))
    if study.searches:
        write_plans(folder, study)


def read_report(path: str | Path) -> Report:
    """Read a report from its folder, or from the path of its report.json.

    Raises:
        DataError: a file is missing or cannot be read, or report.json is not of format 1.

    Example:
        >>> import rum_ray as rr
        >>> rr.read_report("nowhere")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        DataError: nowhere: no report can be read there
    """
    return Report.read(path)
