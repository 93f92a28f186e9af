"""Whole experiments from Python: `rr.run` and `rr.read_report`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch

from rum_ray import config
from rum_ray.data import Reading
from rum_ray.errors import ConfigError, RumRayError
from rum_ray.experiment import Experiment
from rum_ray.experiment.score import AUTO
from rum_ray.files import private_files
from rum_ray.jobs import Context
from rum_ray.results.load import load_outcome
from rum_ray.results.parquet import score_table, trial_table
from rum_ray.results.repeats import combined
from rum_ray.results.report import Report
from rum_ray.results.summary import summarize
from rum_ray.store import CACHE, Store
from rum_ray.study.executor import Executor, LocalExecutor
from rum_ray.study.forecast import expect
from rum_ray.study.models import check_models
from rum_ray.study.output_folder import (
    lock_folder,
    nothing_left,
    prepare_store,
    write_plans,
)
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import Journal, LoggedProgress, Progress
from rum_ray.study.repair import repaired
from rum_ray.study.stages import COMMANDS
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.study.validation import check, check_share
from rum_ray.training.runtime import check_threads

T = TypeVar("T")
Finish: TypeAlias = Callable[[Study, Path | None, Clock], T]
"""Returns the answer of a command from a finished study, its folder and its stage times."""


@private_files()
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
        out: folder of the report, its tables and plan.yaml; None writes no report. With `repeats`,
            the reports of the single studies are in its folders `repeat1`, `repeat2` and so on.
        store: folder or URI of artifacts.
        executor: where the jobs run; by default `LocalExecutor()`, in this process and without
            Ray. Results have the same bits with every executor. It is closed in the end.

    Raises:
        RumRayError: one of `rum_ray.errors`, as on the command line.

    Example:
        >>> import tempfile
        >>> import rum_ray as rr
        >>> from rum_ray import config
        >>> tree = {"name": "small", "data": "digits", "recipe": {"model": "mlp", "epochs": 1}}
        >>> tree |= {"score": {"name": "confidence"}, "forget": {"size": 30}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = rr.run(config.parse(tree), store=folder)
        >>> list(report.rows["method"])
        ['retrained', 'retrained_again', 'original', 'retrained_reordered']
    """
    value = experiment if isinstance(experiment, Experiment) else config.load(experiment)
    check_machine(value, getattr(executor, "address", "local"))
    studies = open_repeats(value, lambda each: open_study(each, store))
    prepare_store(Store(store))
    with executor or LocalExecutor() as running:
        if out is None:
            return report_repeats(value, studies, "run", LoggedProgress(), running)
        folder = Path(out)
        with lock_folder(folder, value):
            journal = Journal(folder / "progress.jsonl", LoggedProgress())
            return report_repeats(value, studies, "run", journal, running, folder)


def check_machine(experiment: Experiment, address: str, needs_gpus: bool = True) -> None:
    """Raise ConfigError if the workers need GPUs, threads or modules that do not exist.

    Args:
        experiment: has the GPUs and threads per worker, and the folders of modules.
        address: "local" and "none" are this machine; others may be clusters with more.
        needs_gpus: False if nothing but a forecast is made.
    """
    for module in experiment.cluster.modules:
        if not Path(module).expanduser().is_dir():
            raise ConfigError(f"cluster.modules: {module} is not a folder.")
    if address not in ("local", "none"):
        return
    for recipe in (experiment.recipe, experiment.score.recipe):
        if recipe is not None:
            check_threads(recipe.threads)
    gpus = experiment.cluster.gpus_per_worker
    if needs_gpus and gpus and not torch.cuda.is_available():
        raise ConfigError(
            f"cluster.gpus_per_worker is {gpus:g}, and PyTorch sees no GPU on this machine. Set it "
            "to 0, or join a cluster that has some with --address."
        )


def open_study(
    experiment: Experiment, store: str | Path, *, plan_only: bool = False, forgets: bool = True
) -> Study:
    """Read the data of an experiment and check everything that can be checked.

    Nothing is written but the cache of decoded images in a local store.

    Args:
        experiment: to open.
        store: folder or URI of artifacts.
        plan_only: True measures the plan of the file alone.
        forgets: False if the forget set is not needed; then it is not checked.

    Raises:
        RumRayError: the experiment does not fit its data.
    """
    if experiment.score.file is None and experiment.score.name == AUTO:
        raise ConfigError(
            "score.name: auto is for 'rum-ray prepare' and 'rum-ray delete'. Name the score, such "
            "as memorization."
        )
    # The device belongs to the keys, also where the driver has none of the workers' kind.
    device = torch.device("cuda" if experiment.cluster.gpus_per_worker else "cpu")
    place = Store(store)
    cache = None if place.folder is None else place.folder / CACHE
    with nothing_left(place):
        bundle = experiment.load_data(Reading(cache=cache))
        study = Study(experiment, Context(bundle, place, device), plan_only)
        check_share(study)
        if forgets:
            check(study)
            return study
        check_models(study)
        if experiment.forget.ids is not None:
            # Listed ids are training data in every stage, so they are read here, too.
            _ = study.forget
        return study


def open_repeats(experiment: Experiment, opened: Callable[[Experiment], Study]) -> Iterator[Study]:
    """Return the study of each repeat, in order; its data are read again when its turn comes.

    Args:
        experiment: with one repeat or several.
        opened: returns the study of an experiment. It is called for all of them at once, so that a
            repeat that does not fit its data is found before the first one starts.
    """
    repeats = [experiment.repeated(number) for number in range(experiment.repeats)]
    if len(repeats) == 1:
        return iter([opened(repeats[0])])
    for number, each in enumerate(repeats, 1):
        try:
            opened(each)
        except RumRayError as error:
            raise type(error)(f"repeat {number} of {len(repeats)}: {error}") from error
    return map(opened, repeats)


def run_repeats(
    experiment: Experiment,
    studies: Iterable[Study],
    command: str,
    progress: Progress,
    executor: Executor,
    out: Path | None,
    finish: Finish[T],
) -> Iterator[T]:
    """Run the stages of a command in each study, and yield its answer.

    The folder of a single study is `out`, that of a repeat is `out/repeat1` and so on. Results that
    turn out to be damaged are computed again.

    Args:
        experiment: with one repeat or several.
        studies: of the repeats.
        command: name of the command.
        progress: receives the progress.
        executor: runs the jobs.
        out: the output folder; None writes no file.
        finish: returns the answer of a study.
    """
    for number, study in enumerate(studies, 1):
        folder = out
        with contextlib.ExitStack() as exits:
            if experiment.repeats > 1:
                progress.say(f"repeat {number} of {experiment.repeats}")
                if out is not None:
                    folder = out / f"repeat{number}"
                    exits.enter_context(lock_folder(folder, study.experiment))
            clock = Clock(None if folder is None else folder / "stages.json")
            pipeline = Pipeline(study, executor, progress, clock)
            attempt = partial(_attempt, pipeline, command, folder, finish)
            # A command without stages computes nothing.
            has_stages, store = bool(COMMANDS[command]), study.context.store
            yield repaired(attempt, store, progress.say) if has_stages else attempt()


def _attempt(pipeline: Pipeline, command: str, folder: Path | None, finish: Finish[T]) -> T:
    """Run the stages of a command in a study, and return its answer."""
    if folder is not None:
        expect(pipeline.study, command, pipeline.clock)
    pipeline.run(command)
    return finish(pipeline.study, folder, pipeline.clock)


def report_repeats(
    experiment: Experiment,
    studies: Iterable[Study],
    command: str,
    progress: Progress,
    executor: Executor,
    out: Path | None = None,
) -> Report:
    """Run all studies and write a report of each; return that over the repeats, or the only one."""

    def finish(study: Study, folder: Path | None, clock: Clock) -> Report:
        report = make_report(study, clock)
        if folder is not None:
            publish(folder, report, study)
        return report

    reports = [*run_repeats(experiment, studies, command, progress, executor, out, finish)]
    if experiment.repeats == 1:
        return reports[0]
    report = combined(experiment, reports)
    if out is not None:
        from rum_ray.report.files import write

        write(out, report)
    return report


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
