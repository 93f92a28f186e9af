"""Commands on several studies: items of the paper, and comparisons."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rum_ray import config
from rum_ray.cli.flags import Flags
from rum_ray.experiment import Experiment
from rum_ray.paper.blank import without_files
from rum_ray.paper.catalogue import Study, studies
from rum_ray.report.public import PUBLIC
from rum_ray.results.compared import check_comparable


@dataclass(frozen=True)
class Opened:
    """A study of an item.

    Attributes:
        name: of its experiment.
        file: the experiment file.
        flags: of `run`, with the changes of the item before those of the user.
    """

    name: str
    file: Path
    flags: Flags


def opened(item: str, data: str, preset: str, flags: Flags) -> list[Opened]:
    """Return the studies of an item, all of them read; write nothing.

    Without the files of the data set, a dry run counts for one of its size.

    Raises:
        ConfigError: a name is unknown, or a flag does not fit a study.
    """
    chosen = studies(item, data, preset)
    experiments = [study.experiment(tuple(flags.changes)) for study in chosen]
    if flags.dry_run and any(map(without_files, experiments)):
        root = experiments[0].data.options["root"]
        print(f"{root} is not there: the forecast is for data of the same size.", file=sys.stderr)
    return [*_opened(chosen, experiments, flags)]


def _opened(
    chosen: tuple[Study, ...], experiments: list[Experiment], flags: Flags
) -> Iterator[Opened]:
    """Yield each study with its flags; several have a folder each in --out."""
    for study, experiment in zip(chosen, experiments, strict=True):
        absent = without_files(experiment) if flags.dry_run else ()
        sets = [*study.changes, *(flags.sets or ()), *absent]
        out = flags.out if flags.out is None or not study.name else flags.out / study.name
        own = dataclasses.replace(flags, sets=sets, out=out)
        yield Opened(experiment.name, study.file, own)


def check_files(files: Sequence[Path], flags: Flags) -> None:
    """Raise ConfigError if a file cannot be read, or studies cannot be compared; write nothing."""
    check_comparable([config.load(file, flags.changes) for file in files])


def compared(answers: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """Return the answers of several studies; write the page that compares their reports.

    Args:
        answers: of `run` or `report`; without reports, of a dry run, there is no page.
        out: folder of the page; that of public reports is its folder `public`.
    """
    summaries = [answer["answer"] for answer in answers if "answer" in answer]
    if not summaries:
        return {"reports": answers}
    # Matplotlib and the page take half a second to import.
    from rum_ray.report.files import write_compared

    folder = out / PUBLIC if summaries[0].public else out
    return {"reports": answers, "compared": str(write_compared(folder, summaries))}
