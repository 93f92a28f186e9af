"""Progress of a run: the state of a stage, its listeners, and a journal file."""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

LINE_SECONDS = 1.0
LOG_SECONDS = 30.0
LOGGER = logging.getLogger("rum_ray")
_News: TypeAlias = tuple[int, int, int, int | None, int | None, str]
_NOTHING: _News = (0, 0, 0, None, None, "")


@dataclass(frozen=True)
class ProgressState:
    """The progress of a stage.

    Attributes:
        done: number of finished steps: jobs, or trials of a search.
        total: number of steps of the stage.
        before: steps that were finished before this start of the run.
        seconds: seconds of work in this start, without the start of the workers.
        failed: jobs with a permanent error or too many attempts; they count as done.
        again: number of requeues.
        restarts: workers, or shards of workers, that were lost.
        workers: live workers; None where they are not known.
        shards: shards with live workers; None where they are not known.
        rejected: workers that left because they cannot do the jobs.
        memory: share of memory in use per device, in [0, 1]; CUDA only.
        standard_error: mean standard error of memorization over the finished part of the pool.
        best: best objective J of a search so far.
        note: the most informative number of the stage, in words.
    """

    done: int
    total: int
    before: int = 0
    seconds: float = 0.0
    failed: int = 0
    again: int = 0
    restarts: int = 0
    workers: int | None = None
    shards: int | None = None
    rejected: int = 0
    memory: Mapping[str, float] = field(default_factory=dict)
    standard_error: float | None = None
    best: float | None = None
    note: str = ""

    @property
    def rate(self) -> float | None:
        """Mean steps per second in this start; None before the first step."""
        made = self.done - self.before
        return made / self.seconds if made > 0 and self.seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at this rate; None while the rate is unknown."""
        return None if self.rate is None else (self.total - self.done) / self.rate

    @property
    def text(self) -> str:
        """The state in words, without the number of steps."""
        parts = []
        if self.rate is not None and self.eta_seconds is not None:
            speed = f"{self.rate:.1f}/s" if self.rate >= 1 else f"{3600 * self.rate:.0f}/h"
            parts += [speed, f"ETA {self.eta_seconds:.0f} s"]
        parts += [] if self.workers is None else [_count(self.workers, "worker")]
        parts += [_count(self.shards, "shard")] if self.shards and self.shards > 1 else []
        parts += [f"{_count(self.rejected, 'worker')} rejected"] if self.rejected else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.again} requeued"] if self.again else []
        parts += [f"workers lost {self.restarts}x"] if self.restarts else []
        parts += [f"device memory {max(self.memory.values()):.0%}"] if self.memory else []
        return ", ".join([*parts, *([self.note] if self.note else [])])


def _count(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Progress(Protocol):
    """Listens to the stages of a run, in order."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of this many steps."""
        ...

    def update(self, state: ProgressState) -> None:
        """Receive the progress of the stage."""
        ...

    def finish(self, summary: str) -> None:
        """End the stage with a line."""
        ...

    def say(self, text: str) -> None:
        """Report an event, in one line; it may happen between stages, too."""
        ...


class LoggedProgress:
    """Writes progress to the logger `rum_ray` at level INFO: every 30 s, and per stage."""

    def __init__(self) -> None:
        """Start without a stage."""
        self._stage, self._logged = "", 0.0

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._logged = stage, time.monotonic()

    def update(self, state: ProgressState) -> None:
        """Log the state, if 30 s have passed since the last line."""
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            LOGGER.info("%s: %d/%d, %s", self._stage, state.done, state.total, state.text)

    def finish(self, summary: str) -> None:
        """Log the end of the stage."""
        LOGGER.info("%s: %s", self._stage, summary)

    def say(self, text: str) -> None:
        """Log an event."""
        LOGGER.info("%s", text)


class Journal:
    """Appends progress to a file as JSON lines and passes it on.

    There is a line only after a change. Finished steps have at most one per second; another change,
    such as that of `note`, has its line at once. A line has `time` (seconds since 1970), `stage`,
    `done`, `total`, `rate` (steps per second), `eta_s` (seconds), `failures` (failed jobs), `again`
    (number of requeues), `restarts`, `memory`, `standard_error`, `note`, `workers`, `shards` and
    `rejected`; unknown values are null. An event has a line of its own, at once: `time`, `stage`
    (empty before the first one) and `event`, a text.
    """

    def __init__(self, path: Path, inner: Progress) -> None:
        """Append to the file `path` in an existing folder, and pass progress on to `inner`."""
        self._path, self._inner = path, inner
        self._stage, self._last, self._written_at = "", ProgressState(0, 0), 0.0
        self._written = _NOTHING

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._last, self._written_at = stage, ProgressState(0, total), 0.0
        self._written = _NOTHING
        self._inner.start(stage, total)

    def update(self, state: ProgressState) -> None:
        """Write a line if something changed; for a finished step, if a second has passed."""
        self._last = state
        news, is_step = self._news, self._news[0] != self._written[0]
        is_early = is_step and time.monotonic() - self._written_at < LINE_SECONDS
        if news != self._written and not is_early:
            self._write()
        self._inner.update(state)

    @property
    def _news(self) -> _News:
        """The part of the state whose change is worth a line."""
        now = self._last
        losses = now.failed + now.again + now.rejected
        return now.done, losses, now.restarts, now.workers, now.shards, now.note

    def finish(self, summary: str) -> None:
        """Write the last state of the stage."""
        self._write()
        self._inner.finish(summary)

    def say(self, text: str) -> None:
        """Write an event at once, and pass it on."""
        self._append({"time": round(time.time(), 3), "stage": self._stage, "event": text})
        self._inner.say(text)

    def _write(self) -> None:
        """Append the state of the stage."""
        self._written_at, self._written, now = time.monotonic(), self._news, self._last
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
            "workers": now.workers,
            "shards": now.shards,
            "rejected": now.rejected,
        }
        self._append(line)

    def _append(self, line: Mapping[str, object]) -> None:
        """Append a line; a full disk does not end the run."""
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
