"""Terminal output: progress bars and tables. Output of third parties goes to a log file."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, JustifyMethod
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from rum_ray.results.schema import Row, SearchSummary, SubsetSummary, Summary
from rum_ray.study.progress import ProgressState

if TYPE_CHECKING:  # Matplotlib takes half a second to import, and most commands draw nothing.
    from rum_ray.report import blocks

PLAIN_SECONDS = 30.0


@contextmanager
def redirect_output(log: Path) -> Iterator[TextIO]:
    """Send what third parties print to a log file; yield the standard error that a person sees.

    Ray and its processes write to the file descriptors themselves, so these are redirected.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with os.fdopen(os.dup(err), "w", buffering=1) as person:
            yield person
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, number in ((out, 1), (err, 2)):
            os.dup2(saved, number)
            os.close(saved)


class Bars:
    """Draws the progress of a run: bars on a terminal, plain lines otherwise."""

    def __init__(self, file: TextIO) -> None:
        """Draw on a file, such as standard error."""
        self._console = Console(file=file, highlight=False)
        self._bars: Progress | None = None
        self._task = TaskID(0)
        self._stage, self._began, self._told = "", 0.0, 0.0

    def start(self, stage: str, total: int) -> None:
        """Begin a stage, also if the one before ended with an error."""
        self.close()
        self._stage = stage
        self._began = self._told = time.monotonic()
        if not self._console.is_terminal:
            return
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(stage, total=total, figures="")

    def update(self, standing: ProgressState) -> None:
        """Show how far the stage is."""
        if self._bars is not None:
            self._bars.update(
                self._task,
                completed=standing.done,
                total=standing.total,
                figures=standing.text,
            )
        elif time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            figures = f", {standing.text}" if standing.text else ""
            self._console.print(f"{self._stage}: {standing.done}/{standing.total}{figures}")

    def finish(self, summary: str) -> None:
        """End the stage with one line."""
        self.close()
        seconds = time.monotonic() - self._began
        self._console.print(f"{self._stage:<10} {seconds:6.1f} s  {summary}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def say(self, text: str) -> None:
        """Print an event in one line, above the bar if there is one."""
        self._console.print(text, markup=False, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], text: bool = False
) -> None:
    """Print a table on standard output; numbers on the right, or a last column of text."""
    drawn, last = Table(title=title, title_justify="left"), len(columns) - 1
    for number, column in enumerate(columns):
        wraps = text and number == last
        justify: JustifyMethod = "left" if number == 0 or wraps else "right"
        drawn.add_column(column, justify=justify, no_wrap=not wraps, overflow="fold")
    for row in rows:
        drawn.add_row(*map(str, row))
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(drawn, markup=False)


def show(answer: Mapping[str, Any]) -> None:
    """Print the answer of a command for a person."""
    if "answer" in answer:
        show_report(answer["answer"], answer["report"])
    elif "devices" in answer:
        _show_estimate(answer)
    elif "forecast" in answer:
        what = answer.get("study", "dry run")
        _show_forecast(answer["forecast"], f"{what}{_of_repeats(answer)}, at most")
    elif {"checks", "deletion", "purge", "gc"} & answer.keys():
        from rum_ray.cli import shown

        shown.show(answer)
    elif "searches" in answer:
        show_searches(answer["searches"])
        for key in ("trials", "plan"):
            print(f"{key}: {answer[key]}")
        print(f"to use it: rum-ray unlearn FILE --set plan={answer['plan']} --out FOLDER")
    elif "reports" in answer or "studies" in answer:
        for one in answer.get("reports") or answer["studies"]:
            show(one)
        if "compared" in answer:
            print(f"compared: {answer['compared']}")
    else:
        _show_parts(answer)


def show_report(summary: Summary, path: str) -> None:
    """Print the headline table, verdict, bill, references, the ladder if any, and the path."""
    from rum_ray.report import verdicts
    from rum_ray.report.sections import ladder, references, result
    from rum_ray.report.text import printable

    shown = printable(summary)
    rows, name = shown.rows, shown.experiment.name
    show_table(result.headline(rows, shown.attack, shown.searches, name))
    told = (verdicts.headline, verdicts.variants, verdicts.expected)
    for sentence in (*(tell(shown) for tell in told), verdicts.bill(shown.bill)):
        if sentence:
            print(sentence)
    if shown.references:
        print(f"{references.finding(shown.references)}.")
    if shown.ladder is not None and ladder.climbed(shown.ladder):
        show_table(ladder.rungs(shown.ladder, shown.attack))
    print(f"report: {path}")


def show_rows(rows: Sequence[Row], attack: str) -> None:
    """Print the headline table of methods."""
    from rum_ray.report.sections import result
    from rum_ray.report.text import printable

    show_table(result.headline(printable(tuple(rows)), attack))


def show_subsets(subsets: Sequence[SubsetSummary]) -> None:
    """Print the table of the subsets of the forget set."""
    from rum_ray.report.sections import scores
    from rum_ray.report.text import printable

    show_table(scores.subsets(printable(tuple(subsets))))


def show_searches(searches: Sequence[SearchSummary]) -> None:
    """Print the searches, the plan that was picked, and the searches that outdid it."""
    from rum_ray.report.sections import picks
    from rum_ray.report.text import format_number, format_plan, printable, searched_title

    shown = printable(tuple(searches))
    header, rows = picks.searches(shown).texts()
    columns = ["space", "trainings", "trials", "diverged", "expected J", "cost"]
    places = [header.index(name) for name in columns]
    title = f"J = {searched_title(shown[0])} on validation data, by the {shown[0].reference}"
    table(title, columns, [[row[place] for place in places] for row in rows])
    last = picks.main(shown)[-1]
    print(f"picked: {format_plan(last.best.plan)}")
    print(f"expected J, on fresh seeds: {format_number(last.best.validated)}")
    if last.finalists:
        print(f"{picks.dropped(last)}.")
    for warning in picks.outdone(shown):
        print(warning)


def show_table(block: "blocks.Table") -> None:
    """Print a table of the report."""
    header, rows = block.texts()
    table(f"{block.title}." if block.title else block.name, header, rows)


def _show_parts(answer: Mapping[str, Any]) -> None:
    """Print tables of subsets and methods, and one line per other value."""
    for key, value in answer.items():
        if key == "subsets":
            show_subsets(value)
        elif key == "rows":
            show_rows(value, answer["attack"])
        elif value is not None:
            for line in value if isinstance(value, list) else [value]:
                print(f"{key.replace('_', ' ')}: {_text(line)}")


def _text(value: Any) -> str:
    """Format a value for a person."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show_estimate(answer: Mapping[str, Any]) -> None:
    """Print a forecast, the time and the price by number of devices, and the bytes."""
    from rum_ray.report.text import format_duration

    _show_forecast(
        answer["forecast"], f"estimate of {answer['command']}{_of_repeats(answer)}, at most"
    )
    columns = ["devices", "workers", "wall time", "device-hours", "busy"]
    priced = answer["devices"][0]["price"] is not None
    rows = [
        [
            *(line["devices"], line["workers"], format_duration(line["seconds"])),
            *(f"{line['device_hours']:.3g}", f"{line['busy']:.0%}"),
            *([f"{line['price']:,.2f}"] if priced else []),
        ]
        for line in answer["devices"]
    ]
    table("by number of devices", [*columns, *(["price"] if priced else [])], rows)
    print(f"work: {answer['device_hours']:.3g} device-hours, measured on {answer['measured_on']}")
    for name in ("store", "object_store", "worker"):
        print(f"{name.replace('_', ' ')}: {amount(answer[f'{name}_bytes'])}")


def _of_repeats(answer: Mapping[str, Any]) -> str:
    """Return the number of repeats of a forecast, if there are several."""
    return f" of {answer['repeats']} repeats" if "repeats" in answer else ""


def amount(count: float) -> str:
    """Format a number of bytes."""
    units = iter(("B", "kB", "MB", "GB"))
    for unit in units:
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _show_forecast(stages: list[dict[str, Any]], title: str) -> None:
    """Print what would be made."""
    rows = [
        [
            s["stage"],
            s["total"] - s["missing"],
            s["missing"],
            f"{s['trainings']:.1f}",
            f"{s['seconds']:.0f}",
        ]
        for s in stages
    ]
    total = [sum(s[key] for s in stages) for key in ("trainings", "seconds")]
    rows.append(["all", "", "", f"{total[0]:.1f}", f"{total[1]:.0f}"])
    table(title, ["stage", "there", "to make", "trainings", "about seconds"], rows)
