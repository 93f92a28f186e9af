"""A command under Ray as a process of its own, and the processes that belong to it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from soak.study import Place

KINDS = {
    "Train worker": "ray::RayTrainWorker",
    "Train controller": "ray::TrainController",
    "queue": "ray::QueueActor",
    "trial": "ray::HandedOver|ray::ResourceTrainable|ray::digits-search|ray::digits-validate",
    "Data actor": "ray::MapWorker",
    "raylet": "raylet/raylet ",
    "GCS": "gcs/gcs_server ",
    "driver": " -m rum_ray ",
}
"""The kinds of processes, and a part of the command line of each."""


class Driver:
    """A command that runs in a session and with a temporary folder of its own."""

    def __init__(self, place: Place, temporary: Path, *more: str) -> None:
        """Start the command; its output goes to a log in the place."""
        self.temporary, self.log = temporary, place.folder / "log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        environment |= {"TMPDIR": str(temporary)}
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rum_ray", *place.arguments(*more)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pids(self, kind: str | None = None) -> list[int]:
        """The live processes of a kind, or all of them."""
        return [pid for pid, line in alive(self.temporary) if kind is None or is_a(kind, line)]

    def text(self) -> str:
        """The output so far."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> int | None:
        """Wait for the end; return the exit code, 128 and the signal, or None after so long."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """End every process that is left."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def alive(temporary: Path) -> Iterator[tuple[int, str]]:
    """Every process with this temporary folder, and its command line."""
    mark = f"TMPDIR={temporary}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if line and mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name), line


def is_a(kind: str, line: str) -> bool:
    """Return True if the command line is that of a process of this kind."""
    return any(part in f"{line} " for part in KINDS[kind].split("|"))
