"""What the benchmarks share: sides that are timed in turn, a refusal, one form of result.

A benchmark gives each of its sides as a function that does some work and returns how much it was.
The sides run in turn, A B A B, so that what else happens on the machine meets all of them; a side
whose repetitions lie more than 20 % apart is refused, and nothing is written. Run as a script, this
module prints the table of all results.
"""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

from rum_ray.results.environment import machine

RESULTS = Path(__file__).parent / "results"
SPREAD = 0.2

Side: TypeAlias = Callable[[], float]
"""Does some work and returns how much it was, in the benchmark's unit."""

Rates: TypeAlias = dict[str, list[float]]
"""Work a second of each repetition, by side."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured, of which model.
        goal: as ">= 10 x" or "<= 3 %"; "-" where the row is for information.
        baseline: what it is compared with.
        reached: in the goal's unit.
        low: least of what single repetitions reached, where sides took turns.
        high: most of it.
    """

    what: str
    goal: str
    baseline: str
    reached: float
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal == "-":
            return None
        sign, number, _ = self.goal.split()
        return self.reached >= float(number) if sign == ">=" else self.reached <= float(number)


def interleave(sides: Mapping[str, Side], repetitions: int, unit: str) -> Rates:
    """Run the sides in turn, print every repetition, and return the work a second of each.

    The first run of each side warms it up and does not count.

    Args:
        sides: by the names under which they are printed and stored.
        repetitions: how often each side counts.
        unit: of the work, in the plural.

    Raises:
        SystemExit: the repetitions of a side lie more than 20 % of their median apart.
    """
    rates: Rates = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, side in sides.items():
            start = perf_counter()
            work = side()
            if repetition:
                rates[name].append(work / (perf_counter() - start))
    for name, values in rates.items():
        print(f"{name}: {' '.join(f'{value:.4g}' for value in values)} {unit}/s", flush=True)
    refuse_spread(rates)
    return rates


def refuse_spread(rates: Rates) -> None:
    """Raise SystemExit if repetitions of a side lie more than 20 % of their median apart."""
    spreads = {name: (max(v) - min(v)) / median(v) for name, v in rates.items()}
    wide = {name: spread for name, spread in spreads.items() if spread > SPREAD}
    if wide:
        found = ", ".join(f"{name} {spread:.0%}" for name, spread in wide.items())
        raise SystemExit(
            f"refused: the repetitions spread by more than {SPREAD:.0%} of their median ({found}). "
            "Nothing was written. Leave the machine alone and run it again."
        )


def ratio(rates: Rates, ours: str, baseline: str) -> float:
    """Return how many times as fast as the baseline a side is, by medians."""
    return median(rates[ours]) / median(rates[baseline])


def compared(
    what: str,
    goal: str,
    rates: Rates,
    ours: str,
    baseline: str,
    name: str | None = None,
    unit: Callable[[float], float] = lambda ratio: ratio,
) -> Row:
    """Return the row of a ratio of medians, with the range of the ratios of single turns.

    Args:
        what: of the row.
        goal: of the row.
        rates: of sides that took turns.
        ours: the side whose ratio is wanted.
        baseline: the side it is compared with.
        name: what the row calls the baseline; the side's name by default.
        unit: turns a ratio of rates into the goal's unit.
    """
    turns = [unit(a / b) for a, b in zip(rates[ours], rates[baseline], strict=True)]
    reached = unit(ratio(rates, ours, baseline))
    return Row(what, goal, name or baseline, reached, min(turns), max(turns))


@contextlib.contextmanager
def process(
    make: Callable[..., Side], *arguments: Any, environment: Mapping[str, str] | None = None
) -> Iterator[Side]:
    """Give a side that lives in a process of its own for the length of a `with` block.

    Args:
        make: a function of a module; called in the process, it returns the side.
        arguments: of `make`.
        environment: variables that are set before the process's Python starts.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        child = spawn.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        child.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()

    def side() -> float:
        ours.send(True)
        work: float = ours.recv()
        return work

    try:
        yield side
    finally:
        ours.close()
        child.join()


def _serve(connection: Connection, make: Callable[..., Side], arguments: Sequence[Any]) -> None:
    """Run the side whenever it is asked for, until the other end is closed."""
    side = make(*arguments)
    with contextlib.suppress(EOFError):
        while connection.recv():
            connection.send(side())


def together(*sides: Side) -> Side:
    """Return the side that runs several at once, each in its own process."""

    def run() -> float:
        with ThreadPoolExecutor(len(sides)) as pool:
            return sum(pool.map(lambda side: side(), sides))

    return run


def alone(script: str, argument: int) -> Any:
    """Return what a script prints as JSON, on its last line, when it is run with an argument."""
    command = [sys.executable, script, str(argument)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def memory(process: int | str, kind: str) -> float:
    """Return a process's memory in MiB, 0 if it is gone.

    Args:
        process: its number, or "self".
        kind: as Linux calls it: "VmRSS" now, "VmHWM" at its peak, "RssAnon" what it shares with
            none, "RssShmem" what it shares.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0.0
    _, found, rest = status.partition(f"{kind}:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def save(name: str, rows: Sequence[Row], rates: Rates, unit: str, **notes: Any) -> None:
    """Write a benchmark's result to `results/<name>.json` and print its lines.

    Args:
        name: of the benchmark.
        rows: its lines of the table.
        rates: every repetition of every side.
        unit: of the work, in the plural.
        notes: what else a reader must know: data, sizes, threads.
    """
    result = {
        "benchmark": name,
        "date": date.today().isoformat(),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
        "unit": f"{unit} a second",
        "repetitions": rates,
        "notes": notes,
        "environment": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(table([result]), flush=True)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return results as a Markdown table: goal, baseline, reached."""
    lines = [
        "| what | baseline | goal | reached | met | measured |",
        "| :-- | :-- | --: | --: | :-- | :-- |",
    ]
    for result in results:
        for row in result["rows"]:
            unit = row["goal"].split()[-1] if row["goal"] != "-" else "x"
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            known = row["low"] is not None
            turns = f" ({row['low']:.3g} to {row['high']:.3g})" if known else ""
            lines.append(
                f"| {row['what']} | {row['baseline']} | {row['goal']} | "
                f"{row['reached']:.3g} {unit}{turns} | {met} | {result['date']} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    files = sorted(RESULTS.glob("*.json"))
    print(table([json.loads(file.read_text("utf-8")) for file in files]))
