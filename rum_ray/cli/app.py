"""The verbs and their flags; errors become one message and an exit code."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rum_ray import __version__
from rum_ray.cli.exits import guarded, leave, leave_interrupted
from rum_ray.errors import ConfigError

HELP = {
    "run": "Make everything that is missing, then the report.",
    "train": "Train the original and the retrained models.",
    "score": "Score how hard examples are to forget: memorization, or a proxy.",
    "refine": "Choose the forget set and split it into subsets, with their entanglement.",
    "unlearn": "Unlearn with the file's plan, and write the unlearned models.",
    "evaluate": "Measure the file's plan: accuracies, attacks, ToW.",
    "ladder": "Search the spaces V0 to V4, each with the same budget, and say what each is worth.",
    "estimate": "Say what a run would make, what that costs in trainings, and how long it takes.",
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Machine unlearning with RUM: score, refine, plan, unlearn, evaluate; on Ray.",
)

File = Annotated[Path, typer.Argument(help="The experiment's YAML file.", show_default=False)]
Files = Annotated[list[Path], typer.Argument(help="Experiment files.", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="key=value, on top of the file.")]
Pick = Annotated[str | None, typer.Option(help='Such as "cost<=0.2": as key search.pick.')]
SeedFlag = Annotated[int | None, typer.Option("--seed", help="Replaces the file's seeds.")]
Address = Annotated[str, typer.Option(help="Ray cluster: local, auto, or HOST:PORT.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the report.  [default: out/<name>]")]
StoreFlag = Annotated[str, typer.Option("--store", help="Folder or URI of artifacts.")]
Dashboard = Annotated[bool, typer.Option("--dashboard", help="Turn the Ray dashboard on.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


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
    """Take the flags before the verb."""


def _verb(name: str) -> Callable[..., None]:
    """Return the command of a verb that takes one experiment file."""

    def command(
        file: File,
        sets: Sets = None,
        seed: SeedFlag = None,
        address: Address = "local",
        out: Out = None,
        store: StoreFlag = "store",
        dashboard: Dashboard = False,
        dry_run: DryRun = False,
        as_json: Json = False,
        debug: Debug = False,
    ) -> None:
        flags = (sets, seed, address, out, store, dashboard, dry_run)
        guarded(lambda: _do(name, file, *flags), as_json, debug)

    command.__doc__ = HELP[name]
    return command


for _name in HELP:
    app.command(_name)(_verb(_name))


@app.command()
def demo(
    sets: Sets = None,
    seed: SeedFlag = None,
    address: Address = "local",
    out: Out = None,
    store: StoreFlag = "store",
    dashboard: Dashboard = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the embedded experiment, from nothing to a report, in minutes on two cores."""
    file = Path(__file__).parents[1] / "demo.yaml"
    flags = (sets, seed, address, out, store, dashboard, dry_run)
    guarded(lambda: _do("run", file, *flags), as_json, debug)


@app.command()
def tune(
    file: File,
    pick: Pick = None,
    sets: Sets = None,
    seed: SeedFlag = None,
    address: Address = "local",
    out: Out = None,
    store: StoreFlag = "store",
    dashboard: Dashboard = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search the assignment of unlearners to subsets, and write plan.yaml."""
    picked = [] if pick is None else [f"search.pick={json.dumps(pick)}"]
    flags = ([*(sets or ()), *picked], seed, address, out, store, dashboard, dry_run)
    guarded(lambda: _do("tune", file, *flags), as_json, debug)


@app.command()
def report(
    files: Files,
    sets: Sets = None,
    seed: SeedFlag = None,
    address: Address = "local",
    out: Out = None,
    store: StoreFlag = "store",
    dashboard: Dashboard = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the reports of finished experiments."""
    flags = (sets, seed, address, out, store, dashboard, dry_run)

    def do() -> dict[str, Any]:
        if out is not None and len(files) > 1:
            raise ConfigError("--out is for one experiment; leave it out to report on several.")
        answers = [_do("report", file, *flags) for file in files]
        return answers[0] if len(answers) == 1 else {"reports": answers}

    guarded(do, as_json, debug)


@app.command()
def doctor(
    sets: Sets = None,
    seed: SeedFlag = None,
    address: Address = "local",
    out: Out = None,
    store: StoreFlag = "store",
    dashboard: Dashboard = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is installed, writable and secured; flags about experiments change nothing."""
    del sets, seed, address, out, dashboard, dry_run

    def do() -> dict[str, Any]:
        from rum_ray.cli.doctor import examine

        return {"checks": examine(store)}

    guarded(do, as_json, debug)


def _do(
    verb: str,
    file: Path,
    sets: list[str] | None,
    seed: int | None,
    address: str,
    out: Path | None,
    store: str,
    dashboard: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Do a verb, or say what it would do."""
    from rum_ray import config

    overrides = list(sets or ())
    if seed is not None:
        overrides.append(f"seeds=[{seed}]")
    experiment = config.load(file, overrides)
    if verb == "ladder":
        experiment = experiment.ladder()
    # Ray and pandas are loaded only now, when the file is known to be right.
    from rum_ray.cli import commands

    options = commands.Options(out, store, address, dashboard)
    study = commands.open_study(experiment, options, forgets=verb != "score")
    if dry_run or verb == "estimate":
        return commands.dry_run(study, verb)
    return commands.VERBS[verb](study, options)


def main() -> None:
    """Run the command line; what is wrong with it is one line, too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows another one.
            stream.reconfigure(errors="replace")
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.Abort:
        leave_interrupted()
    except Exception as error:
        # By its version, Typer has a click of its own, or imports the one that is installed.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().rstrip(".")
        leave(f"{message}. See 'rum-ray --help', and 'rum-ray VERB --help'.", 2)
    sys.exit(code)
