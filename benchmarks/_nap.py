"""A job that only takes time, and tells which process has it in hand."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rum_ray.jobs import Context
from rum_ray.resume import StoredRuntime
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Nap:
    """Sleep.

    Attributes:
        number: tells the jobs of a stage apart.
        seconds: time that it takes.
        seed: nothing is drawn.
        recipe: of the model by which a worker proves its device.
    """

    number: int
    seconds: float
    seed: Seed = Seed(0)  # noqa: RUF009 - an immutable value
    recipe: Recipe = Recipe("mlp")  # noqa: RUF009 - an immutable value

    def key(self, context: Context) -> Key:
        """Return the key of the result."""
        return Key("nap", {"number": self.number})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Leave a mark of this process, sleep, and return the number."""
        Path(context.store.root, f"worker-{os.getpid()}").touch()
        time.sleep(self.seconds)
        return Artifact(value=self.number)
