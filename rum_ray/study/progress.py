"""How long work tells how far it is; the command line draws it, tests listen."""

from typing import Protocol


class Progress(Protocol):
    """Is told of each stage of a run, in order."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of so many steps."""
        ...

    def update(self, done: int, total: int, note: str = "") -> None:
        """Say how many steps of the stage are done, and the one figure that matters now."""
        ...

    def finish(self, summary: str) -> None:
        """End the stage with a line."""
        ...
