"""Wall time by stage, over all starts of a run."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class StageTime:
    """What a stage has taken so far.

    Attributes:
        name: of the stage.
        seconds: of wall time, over all starts in which it made something.
        made: jobs it did.
        trainings: how many of them train a model from scratch.
        reused: jobs that were in the store when it last started.
    """

    name: str
    seconds: float = 0.0
    made: int = 0
    trainings: int = 0
    reused: int = 0


class Clock:
    """Keeps the stages' times in a file, so that a run that was cut off counts in full."""

    def __init__(self, path: Path) -> None:
        """Read what earlier starts took."""
        self._path = path
        known: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        self.stages = {entry["name"]: StageTime(**entry) for entry in known}

    @contextmanager
    def stage(self, name: str) -> Iterator[StageTime]:
        """Time a stage; its time counts if something was made, also when it is cut off."""
        stage = self.stages.setdefault(name, StageTime(name))
        start, before = time.monotonic(), stage.made
        stage.reused = 0
        try:
            yield stage
        finally:
            if stage.made > before:
                stage.seconds += time.monotonic() - start
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps([asdict(s) for s in self.stages.values()]))
            temporary.replace(self._path)
