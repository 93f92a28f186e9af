"""The reaper of a local Ray: a process that ends what is left of it when the command is gone.

Ray's own processes watch each other, so those of a Ray whose raylet, head or command was killed may
stay for minutes, and its temporary folder for good. Each process of a local Ray inherits a mark of
its command in the environment, and each start of Ray has a folder of its own. The reaper is there
before both. It waits for the end of the command, then kills all processes with that mark and
removes the folder. It runs as a script, and imports nothing of this package.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "RUM_RAY_COMMAND"
"""Environment variable of the processes of a local Ray."""
END_SECONDS = 10.0
"""Longest time in which processes are killed; one that waits for a disk cannot end."""
POLL_SECONDS = 0.05


class Reaper:
    """Ends the processes of a local Ray after a `with` block, or with this process.

    Attributes:
        settings: environment variables that the processes of this Ray must inherit.
    """

    def __init__(self, folder: Path) -> None:
        """Choose a mark.

        Args:
            folder: of this Ray; removed in the end, and made by nobody before the block begins.
        """
        mark = uuid.uuid4().hex
        self.settings = {MARK: mark}
        self._line = [sys.executable, "-IS", __file__, f"{MARK}={mark}", str(folder)]

    def __enter__(self) -> "Reaper":
        # The end of this process, however it comes, is the end of the reaper's input.
        self._process = subprocess.Popen(
            self._line,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=2 * END_SECONDS)


def reap(mark: bytes, folder: str) -> None:
    """Wait for the end of the input, kill every process with a mark, and remove a folder.

    Args:
        mark: an entry of the environment, NAME=VALUE.
        folder: its path.
    """
    sys.stdin.buffer.read()
    deadline = time.monotonic() + END_SECONDS
    while _kill(mark) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _kill(mark: bytes) -> int:
    """Kill every process with a mark; return their number."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The number may be that of another process later, but the descriptor is not.
            process = os.pidfd_open(int(folder.name))
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    found += 1
            finally:
                os.close(process)
    return found


if __name__ == "__main__":
    reap(sys.argv[1].encode(), sys.argv[2])
