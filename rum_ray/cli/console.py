"""What a person sees in a terminal: progress bars, tables, and nothing of third parties."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from rum_ray.study.progress import ProgressState

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
        """Begin a stage."""
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
        """Print a line."""
        self._console.print(text, markup=False)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table on standard output; numbers on the right."""
    drawn = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*map(str, row))
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(drawn, markup=False)


def show(answer: Mapping[str, Any]) -> None:
    """Print what a verb answers, for a person."""
    if "answer" in answer:
        _show_report(answer)
    elif "forecast" in answer:
        _show_forecast(answer["forecast"])
    elif "checks" in answer:
        rows = [[c["check"], c["state"], c["found"]] for c in answer["checks"]]
        table("doctor", ["check", "state", "found"], rows)
    elif "searches" in answer:
        _show_searches(answer)
    elif "reports" in answer:
        for one in answer["reports"]:
            _show_report(one)
    else:
        _show_parts(answer)


def _show_report(answer: Mapping[str, Any]) -> None:
    """Print the headline table, the ladder if there is one, and where the report is."""
    from rum_ray.report import findings_search, ladder
    from rum_ray.report.tables import HEADLINE_COLUMNS, headline

    report = answer["answer"]
    rows = [list(row) for row in headline(report)]
    table(f"{report['experiment']['name']}: best first", list(HEADLINE_COLUMNS), rows)
    if report["references"]:
        print(f"{findings_search.references(report)}.")
    if ladder.climbed(report):
        rungs = ladder.rungs(report)
        table(f"{ladder.finding(report)}.", list(rungs.columns), [list(row) for row in rungs.rows])
    print(f"report: {answer['report']}")


def _show_parts(answer: Mapping[str, Any]) -> None:
    """Print tables of subsets and methods, and a line for whatever else there is."""
    from rum_ray.report import facts
    from rum_ray.report.tables import HEADLINE_COLUMNS, headline

    for key, value in answer.items():
        if key == "subsets":
            found = facts.subsets({**answer})
            table("the forget set", list(found.columns), [list(row) for row in found.rows])
        elif key == "rows":
            rows = [list(row) for row in headline({**answer})]
            table("best first", list(HEADLINE_COLUMNS), rows)
        elif value is not None:
            for line in value if isinstance(value, list) else [value]:
                print(f"{key.replace('_', ' ')}: {_text(line)}")


def _text(value: Any) -> str:
    """Return a value as people read it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show_searches(answer: Mapping[str, Any]) -> None:
    """Print what was searched and found, and where the plan is."""
    from rum_ray.report import facts, findings_search
    from rum_ray.report.text import OBJECTIVE

    found = facts.searches({"searches": answer["searches"]})
    columns = ("space", "trials", "diverged", "J of its pick", "on fresh seeds", "cost")
    places = [found.columns.index(name) for name in columns]
    rows = [[row[place] for place in places] for row in found.rows]
    known = answer["searches"][0]["reference"]
    table(f"J = {OBJECTIVE} on validation data, by the {known}", list(columns), rows)
    print(f"picked: {facts.plan(findings_search.main({**answer})[-1]['best']['plan'])}")
    for warning in findings_search.outdone({**answer}):
        print(warning)
    for key in ("trials", "plan"):
        print(f"{key}: {answer[key]}")
    print(f"to use it: rum-ray unlearn FILE --set plan={answer['plan']} --out FOLDER")


def _show_forecast(stages: list[dict[str, Any]]) -> None:
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
    table("dry run, at most", ["stage", "there", "to make", "trainings", "about seconds"], rows)
