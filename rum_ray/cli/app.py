"""The commands and their flags; an error becomes one message and an exit code."""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rum_ray import __version__
from rum_ray.cli.exits import guarded, run
from rum_ray.cli.flags import (
    OUTPUT,
    RESULTS,
    SHARED,
    Asked,
    Command,
    Data,
    File,
    Files,
    Flags,
    Folder,
    Forget,
    Item,
    Pick,
    Preset,
    Price,
    Public,
    PublicCopy,
    Searched,
    Track,
    Yes,
)
from rum_ray.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rum_ray.cli.commands import Options
    from rum_ray.experiment import Experiment
    from rum_ray.study.study import Study

HELP = {
    "run": "Run everything that is missing, then write the report.",
    "train": "Train the original and the retrained models.",
    "score": "Score how hard examples are to forget: memorization, or a proxy.",
    "refine": "Choose the forget set and split it into subsets; measure their entanglement.",
    "unlearn": "Unlearn with the plan of the file, and write the unlearned models.",
    "evaluate": "Measure the plan of the file: accuracies, attacks, ToW.",
    "ladder": "Search the spaces V0 to V5; report the worth of each freedom.",
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Machine unlearning with RUM: score, refine, plan, unlearn, evaluate; on Ray.",
)


def _command(
    name: str, shared: Sequence[str] = tuple(SHARED), **defaults: Any
) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Return a decorator that registers a command and gives it shared flags.

    Args:
        name: of the command.
        shared: the shared flags that have an effect in it.
        defaults: of shared flags, where the command has others.
    """

    def register(function: Callable[..., dict[str, Any]]) -> None:
        def command(**given: Any) -> None:
            as_json, debug = given.pop("as_json"), given.pop("debug")
            flags = Flags(**{flag: given.pop(flag) for flag in shared})
            guarded(lambda: function(flags=flags, **given), as_json, debug)

        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [p for p in inspect.signature(function).parameters.values() if p.name != "flags"]
        kinds = {flag: SHARED[flag] for flag in shared} | OUTPUT
        default = vars(Flags()) | dict.fromkeys(OUTPUT, False) | defaults
        others = [
            inspect.Parameter(flag, keyword, annotation=kind, default=default[flag])
            for flag, kind in kinds.items()
        ]
        parameters = [*(p.replace(kind=keyword) for p in own), *others]
        vars(command)["__signature__"] = inspect.Signature(parameters)
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, help=HELP.get(name) or inspect.getdoc(function))(command)

    return register


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the flags before the command."""


def _on_file(name: str) -> Callable[..., dict[str, Any]]:
    """Return the function of a command that takes one experiment file."""

    def function(file: File, flags: Flags) -> dict[str, Any]:
        return _do(name, file, flags)

    def tracked(file: File, flags: Flags, track: Track = None) -> dict[str, Any]:
        return _do(name, file, flags, track=track)

    return tracked if name == "run" else function


for _name in HELP:
    _command(_name)(_on_file(_name))


@_command("demo")
def _demo(flags: Flags, track: Track = None) -> dict[str, Any]:
    """Run the embedded experiment, from nothing to a report, in minutes on two cores."""
    return _do("run", Path(__file__).parents[1] / "demo.yaml", flags, track=track)


@_command("reproduce")
def _reproduce(
    item: Item,
    flags: Flags,
    data: Data = "cifar10",
    preset: Preset = "small",
    track: Track = None,
) -> dict[str, Any]:
    """Run a table, a figure or a question of the paper: one study or several, as `run` does."""
    from rum_ray.cli import several

    chosen = several.opened(item, data, preset, flags)
    answers = [{**_do("run", s.file, s.flags, track=track), "study": s.name} for s in chosen]
    if len(answers) == 1:
        return answers[0]
    return several.compared(answers, flags.out or Path("out") / f"{item}-{data}-{preset}")


@_command("tune")
def _tune(file: File, flags: Flags, pick: Pick = None) -> dict[str, Any]:
    """Search the assignment of unlearners to subsets, and write plan.yaml."""
    return _do("tune", file, flags, () if pick is None else [f"search.pick={json.dumps(pick)}"])


@_command("estimate", ("sets", "seed", "store"))
def _estimate(
    file: File, flags: Flags, command: Command = "run", price: Price = None
) -> dict[str, Any]:
    """Forecast jobs, device-hours, bytes, memory and time of a command, by number of devices."""
    if command not in HELP and command != "tune":
        known = did_you_mean(command, [*HELP, "tune"])
        raise ConfigError(f"--command: no forecast for '{command}'. {known}")
    _, studies, _ = _open(command, file, replace(flags, dry_run=True))
    from rum_ray.cli import commands

    return commands.estimated(studies, command, price)


@_command("report", RESULTS)
def _report(
    files: Files, flags: Flags, track: Track = None, public: PublicCopy = False
) -> dict[str, Any]:
    """Write the reports of finished experiments; of several, a page that compares them, too."""
    if len(files) == 1:
        return _do("report", files[0], flags, track=track, public=public)
    from rum_ray.cli import several

    several.check_files(files, flags)
    single = replace(flags, out=None)
    answers = [_do("report", file, single, track=track, public=public) for file in files]
    return several.compared(answers, flags.out or Path("out") / "compared")


@_command("prepare")
def _prepare(file: File, flags: Flags) -> dict[str, Any]:
    """Train a leave-k-out pool once, for the scores and the evidence of all later requests."""
    from rum_ray.cli import deletions

    return deletions.prepare(*deletions.request_file(file, flags), flags.dry_run)


@_command("delete", address="none")
def _delete(file: File, flags: Flags, forget: Forget, public: Public = False) -> dict[str, Any]:
    """Forget listed rows; publish the model with evidence, or nothing if a gate is not met."""
    from rum_ray.cli import deletions

    return deletions.delete(*deletions.request_file(file, flags), forget, public, flags.dry_run)


@_command("verify", ())
def _verify(folder: Folder, flags: Flags) -> dict[str, Any]:
    """Check a published folder: files, ledger, versions, and its numbers by the model."""
    from rum_ray.cli import deletions

    return deletions.verify(folder)


@_command("purge", RESULTS)
def _purge(file: File, flags: Flags, yes: Yes = False) -> dict[str, Any]:
    """List what still derives from forgotten rows; with --yes, remove it."""
    from rum_ray.cli import deletions

    return deletions.purge(*deletions.request_file(file, flags), yes)


@_command("gc", ("store",))
def _gc(flags: Flags, out: Searched = None, yes: Yes = False) -> dict[str, Any]:
    """List what dead commands left in store, output and temporary folder; with --yes, remove it."""
    from rum_ray.cli.leftovers import collect

    return collect(flags.store, out, yes)


@_command("doctor", ("store",))
def _doctor(flags: Flags, address: Asked = "local") -> dict[str, Any]:
    """Check what is installed, writable and secured here, and the cluster at --address."""
    from rum_ray.cli.doctor import examine

    return examine(flags.store, address)


def _do(
    command: str,
    file: Path,
    flags: Flags,
    overrides: Sequence[str] = (),
    track: str | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """Run a command on an experiment file, or forecast it."""
    experiment, studies, options = _open(command, file, flags, overrides, track, public)
    from rum_ray.cli import commands

    if flags.dry_run:
        return commands.dry_run(studies, command)
    return commands.do(command, experiment, studies, options)


def _open(
    command: str,
    file: Path,
    flags: Flags,
    overrides: Sequence[str] = (),
    track: str | None = None,
    public: bool = False,
) -> "tuple[Experiment, Iterator[Study], Options]":
    """Return a file's experiment, the study of each repeat, and the options; write nothing."""
    from rum_ray import config

    experiment = config.load(file, [*flags.changes, *overrides])
    if command == "ladder":
        experiment = experiment.ladder()
    from rum_ray.cli import commands

    options = replace(commands.Options.of(flags, track), public=public)
    studies = commands.open_studies(experiment, options, command, flags.dry_run)
    return experiment, studies, options


def main() -> None:
    """Run the command line; an error in it is one line, too."""
    run(app)
