"""The commands on requests to forget: prepare, delete, verify and purge."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rum_ray import api, config
from rum_ray.cli.commands import LOG, Options, make_executor
from rum_ray.cli.console import Bars, redirect_output
from rum_ray.cli.place import check_place
from rum_ray.deletion import delete as deleting
from rum_ray.deletion import prepare as preparing
from rum_ray.deletion import purge as purging
from rum_ray.deletion import verify as verifying
from rum_ray.deletion.evidence import bill_of
from rum_ray.deletion.opened import forecast, open_deletion
from rum_ray.deletion.request import read_list
from rum_ray.experiment import Experiment
from rum_ray.report.evidence import bill_sentence
from rum_ray.store import Store
from rum_ray.study.executor import Executor
from rum_ray.study.output_folder import hold_folder, nothing_left, prepare_store
from rum_ray.study.progress import Progress

if TYPE_CHECKING:
    from rum_ray.cli.flags import Flags

Answer = dict[str, Any]


def request_file(file: Path, flags: "Flags") -> tuple[Experiment, Options]:
    """Return the experiment of a file that needs no forget set, and the options."""
    return config.load(file, flags.changes, config.UNCHOSEN), Options.of(flags)


def prepare(experiment: Experiment, options: Options, dry_run: bool) -> Answer:
    """Train the pool, and write its numbers; or tell the cost."""
    _check(experiment, options, dry_run)
    out = options.folder(experiment)
    with nothing_left(Store(options.store)):
        study = preparing.open_preparation(experiment, out, options.store)
    if dry_run:
        return {"models": len(study.scoring.pool), "trainings": preparing.cost_of(study)}
    with _held(options, out), _running(experiment, options, out) as (progress, executor):
        return preparing.prepare(study, out, executor, progress)


def delete(
    experiment: Experiment, options: Options, forget: str, public: bool, dry_run: bool
) -> Answer:
    """Forget the listed rows, and publish the model; or tell the cost and write nothing."""
    _check(experiment, options, dry_run)
    out, listed = options.folder(experiment), read_list(forget)
    if dry_run:
        opened = open_deletion(experiment, listed, out, options.store, settled=False)
        bill = bill_of(opened, forecast(opened))
        forgotten = len(opened.request.rows)
        return {"to_forget": forgotten, "told": bill_sentence(bill), "bill": asdict(bill)}
    with _held(options, out):
        with nothing_left(Store(options.store)):
            opened = open_deletion(experiment, listed, out, options.store, public=public)
        with _running(experiment, options, out) as (progress, executor):
            return deleting.delete(opened, executor, progress)


def verify(folder: Path) -> Answer:
    """Check a published folder."""
    checks = [asdict(check) for check in verifying.verify(folder)]
    return {"title": f"verify {folder}", "checks": checks}


def purge(experiment: Experiment, options: Options, yes: bool) -> Answer:
    """List what derives from forgotten rows, and remove it if wanted."""
    out, store = options.folder(experiment), Store(options.store)
    items = purging.find(experiment, out, store)
    if yes:
        with hold_folder(out):
            items = purging.find(experiment, out, store)
            purging.remove(items, out, store)
    return {"purge": [asdict(item) for item in items], "removed": yes}


def _check(experiment: Experiment, options: Options, dry_run: bool) -> None:
    """Raise an error if the jobs cannot run at the address; a dry run needs no GPU and no Ray."""
    if dry_run:
        api.check_machine(experiment, options.address, needs_gpus=False)
    else:
        check_place(experiment, options.address, options.insecure)


@contextlib.contextmanager
def _held(options: Options, out: Path) -> Iterator[None]:
    """Hold the lock of the output folder; new folders that stay empty are removed."""
    prepare_store(Store(options.store))
    made = [folder for folder in (out, *out.parents) if not os.access(folder, os.F_OK)]
    try:
        with hold_folder(out):
            yield
    finally:
        if made and {path.name for path in out.iterdir()} <= {".lock"}:
            with contextlib.suppress(OSError):
                (out / ".lock").unlink()
                for folder in made:
                    folder.rmdir()


@contextlib.contextmanager
def _running(
    experiment: Experiment, options: Options, out: Path
) -> Iterator[tuple[Progress, Executor]]:
    """Yield the progress and the executor of a command; Ray's output goes to a log file."""
    with contextlib.ExitStack() as stack:
        terminal = sys.stderr
        if options.address != "none":
            terminal = stack.enter_context(redirect_output(out / LOG))
        bars = Bars(terminal)
        stack.callback(bars.close)
        yield bars, stack.enter_context(make_executor(experiment, options, bars.say))
