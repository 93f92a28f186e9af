"""Wall time per stage, over all starts of a run."""

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rum_ray.errors import StoreError
from rum_ray.files import read_regular, write_bytes

MOST_BYTES = 2**24
"""Largest file of times that is read."""


@dataclass(frozen=True)
class StageForecast:
    """Forecast of a stage, made before its first job.

    Attributes:
        jobs: missing jobs, at most.
        trainings: cost of the missing jobs at most, in trainings of the original.
        seconds: expected wall time.
    """

    jobs: int
    trainings: float
    seconds: float


@dataclass
class StageTime:
    """The work of a stage so far.

    Attributes:
        name: name of the stage.
        seconds: wall time over all starts in which it computed something.
        made: number of computed jobs.
        trainings: number of them that train a model from scratch.
        reused: number of jobs whose results were in the store at the last start.
        forecast: made at the first start; None for a short command.
    """

    name: str
    seconds: float = 0.0
    made: int = 0
    trainings: int = 0
    reused: int = 0
    forecast: StageForecast | None = None


class Clock:
    """Times stages; with a file, the times of earlier starts count too."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the times of earlier starts; those in a damaged file are unknown."""
        self._path = path
        self.stages: dict[str, StageTime] = {}
        if path is not None:
            # No result depends on them; on other content, many types of errors can follow.
            with contextlib.suppress(Exception):
                self.stages = _parse(read_regular(path, MOST_BYTES))

    @contextmanager
    def stage(self, name: str) -> Iterator[StageTime]:
        """Time a stage; the time of an interrupted stage counts if it computed something."""
        stage = self.stages.setdefault(name, StageTime(name))
        start, before = time.monotonic(), stage.made
        stage.reused = 0
        try:
            yield stage
        finally:
            if stage.made > before:
                stage.seconds += time.monotonic() - start
            self._save()

    def expect(self, name: str, forecast: StageForecast) -> None:
        """Keep the forecast of a stage, unless the stage has computed something before."""
        stage = self.stages.setdefault(name, StageTime(name))
        if not stage.made:
            stage.forecast = forecast
            self._save()

    def _save(self) -> None:
        """Replace the file, if there is one, atomically; a full disk does not end the run."""
        if self._path is None:
            return
        entries = [asdict(stage) for stage in self.stages.values()]
        with contextlib.suppress(StoreError):
            write_bytes(self._path, json.dumps(entries).encode())


def _parse(content: bytes) -> dict[str, StageTime]:
    """Return the stages in the content of a file, by name."""
    stages = {}
    for entry in json.loads(content):
        forecast = entry["forecast"]
        numbers = [entry["seconds"], entry["made"], entry["trainings"], entry["reused"]]
        numbers += [] if forecast is None else [*forecast.values()]
        if not all(type(number) in (int, float) and number >= 0 for number in numbers):
            raise ValueError("a time is no number")
        entry["forecast"] = None if forecast is None else StageForecast(**forecast)
        stages[str(entry["name"])] = StageTime(**entry)
    return stages
