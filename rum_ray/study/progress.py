"""How long work tells how far it is; the command line draws it, a file keeps it, tests listen."""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

LINE_SECONDS = 1.0


@dataclass(frozen=True)
class ProgressState:
    """How far a stage is.

    Attributes:
        done: steps that are done.
        total: steps of the stage.
        before: how many of the done ones were there when this start began.
        seconds: of work in this start; starting the workers is not counted.
        failed: jobs that were given up, or cannot be done; they count as done.
        again: how often a job was handed out again.
        restarts: how often all workers were started again: one died, or their number changed.
        memory: by device, the share of its memory in use, in [0, 1]; CUDA only.
        standard_error: mean standard error of memorization, of the finished prefix of the pool.
        best: of a search, the best J so far.
        note: the one figure that matters now.
    """

    done: int
    total: int
    before: int = 0
    seconds: float = 0.0
    failed: int = 0
    again: int = 0
    restarts: int = 0
    memory: Mapping[str, float] = field(default_factory=dict)
    standard_error: float | None = None
    best: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Steps a second, mean since work began in this start; None before the first."""
        made = self.done - self.before
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds that are left at this rate; None while it is unknown."""
        return None if self.rate is None else (self.total - self.done) / self.rate

    @property
    def text(self) -> str:
        """The figures in words, without how many are done."""
        parts = []
        if self.rate is not None and self.eta_seconds is not None:
            speed = f"{self.rate:.1f}/s" if self.rate >= 1 else f"{3600 * self.rate:.0f}/h"
            parts += [speed, f"ETA {self.eta_seconds:.0f} s"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.again} handed out again"] if self.again else []
        parts += [f"workers started again {self.restarts}x"] if self.restarts else []
        parts += [f"device memory {max(self.memory.values()):.0%}"] if self.memory else []
        return ", ".join([*parts, *([self.note] if self.note else [])])


class Progress(Protocol):
    """Is told of each stage of a run, in order."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of so many steps."""
        ...

    def update(self, standing: ProgressState) -> None:
        """Say how far the stage is."""
        ...

    def finish(self, summary: str) -> None:
        """End the stage with a line."""
        ...


class Journal:
    """Keeps the progress as JSON lines, one a second while something changes, and passes it on.

    A line has `time` (seconds since 1970), `stage`, `done`, `total`, `rate` (a second), `eta_s`,
    `failures` (jobs that were given up), `again` (jobs handed out again), `restarts`, `memory`,
    `standard_error` and `note`; what is unknown is null.
    """

    def __init__(self, path: Path, inner: Progress) -> None:
        """Append to a file, in a folder that exists; tell another of everything too."""
        self._path, self._inner = path, inner
        self._stage, self._last, self._told = "", ProgressState(0, 0), 0.0
        self._written = (0, 0, 0, "")

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._last, self._told = stage, ProgressState(0, total), 0.0
        self._written = (0, 0, 0, "")
        self._inner.start(stage, total)

    def update(self, standing: ProgressState) -> None:
        """Note how far the stage is, if a second has passed."""
        self._last = standing
        if self._news != self._written and time.monotonic() - self._told >= LINE_SECONDS:
            self._write()
        self._inner.update(standing)

    @property
    def _news(self) -> tuple[int, int, int, str]:
        """What is worth a line."""
        now = self._last
        return now.done, now.failed + now.again, now.restarts, now.note

    def finish(self, summary: str) -> None:
        """Note where the stage ended."""
        self._write()
        self._inner.finish(summary)

    def _write(self) -> None:
        """Append a line; a run does not end because nobody can watch it."""
        self._told, self._written, now = time.monotonic(), self._news, self._last
        line = {
            "time": round(time.time(), 3),
            "stage": self._stage,
            "done": now.done,
            "total": now.total,
            "rate": now.rate and round(now.rate, 6),
            "eta_s": now.eta_seconds and round(now.eta_seconds, 1),
            "failures": now.failed,
            "again": now.again,
            "restarts": now.restarts,
            "memory": dict(now.memory),
            "standard_error": now.standard_error,
            "note": now.note,
        }
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
