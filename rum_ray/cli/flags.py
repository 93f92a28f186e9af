"""The flags of the command line: types, defaults and help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="The experiment's YAML file.", show_default=False)]
Files = Annotated[list[Path], typer.Argument(help="Experiment files.", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="key=value, on top of the file.")]
Command = Annotated[str, typer.Option(help="The command to forecast.")]
Price = Annotated[float | None, typer.Option(help="Price of a device and hour, in any currency.")]
Pick = Annotated[str | None, typer.Option(help='Such as "cost<=0.2": as key search.pick.')]
Track = Annotated[
    str | None, typer.Option("--track", help="Send the report to mlflow:URI or wandb:PROJECT.")
]
SeedFlag = Annotated[int | None, typer.Option("--seed", help="Replaces the seeds of the file.")]
Forget = Annotated[
    str, typer.Option(help="File with one id per line; - is standard input.", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="Folder of a request.", show_default=False)]
Public = Annotated[
    bool, typer.Option("--public", help="Leave out hashes, and numbers about fewer than 10 rows.")
]
PublicCopy = Annotated[
    bool,
    typer.Option(
        "--public",
        help="Write a copy to the folder public, without ids, paths, pictures, and numbers about "
        "fewer than 10 rows.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove what is listed.")]
Item = Annotated[
    str, typer.Argument(help="Such as table1, figure1 or proxies.", show_default=False)
]
Data = Annotated[str, typer.Option(help="cifar10, cifar100 or tiny_imagenet.")]
Preset = Annotated[str, typer.Option(help="small, or paper for the paper's own size.")]
Address = Annotated[
    str, typer.Option(help="Ray cluster: local, auto or HOST:PORT; none: processes without Ray.")
]
Asked = Annotated[
    str, typer.Option("--address", help="HOST:PORT of a cluster that is asked for its token mode.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=lambda text: Path(_given(text)),
        metavar="PATH",
        help="Folder of the report.  [default: out/<name>]",
    ),
]
Searched = Annotated[
    Path | None,
    typer.Option(
        "--out",
        parser=lambda text: Path(_given(text)),
        metavar="PATH",
        help="An output folder that is searched, too.",
    ),
]
StoreFlag = Annotated[
    str,
    typer.Option(
        "--store",
        parser=lambda text: _given(text),
        metavar="TEXT",
        help="Folder or URI of artifacts.",
    ),
]
Dashboard = Annotated[bool, typer.Option("--dashboard", help="Start the Ray dashboard.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow a Ray that asks for no token.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Forecast the run, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def _given(text: str) -> str:
    """Return the text of a flag; an empty one would be the path of the working folder."""
    if not text.strip():
        raise typer.BadParameter("the text is empty")
    return text


@dataclass(frozen=True)
class Flags:
    """The values of the shared flags; one that a command does not have keeps its default."""

    sets: list[str] | None = None
    seed: int | None = None
    address: str = "local"
    out: Path | None = None
    store: str = "store"
    dashboard: bool = False
    insecure: bool = False
    dry_run: bool = False

    @property
    def changes(self) -> list[str]:
        """The changes of the file that flags ask for, in the form of --set."""
        seeds = [] if self.seed is None else [f"seeds=[{self.seed}]"]
        return [*(self.sets or ()), *seeds]


SHARED = {
    "sets": Sets,
    "seed": SeedFlag,
    "address": Address,
    "out": Out,
    "store": StoreFlag,
    "dashboard": Dashboard,
    "insecure": Insecure,
    "dry_run": DryRun,
}
"""The types of the shared flags, by field of `Flags`; a command has those with an effect in it."""
RESULTS = ("sets", "seed", "out", "store")
"""The shared flags of a command on an experiment that runs no job."""
OUTPUT = {"as_json": Json, "debug": Debug}
"""The types of the flags of all commands."""
