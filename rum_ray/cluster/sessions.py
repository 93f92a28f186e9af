"""Session folders of Ray on this machine: sockets and logs, which nobody needs after the end."""

import contextlib
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import ray

START_SECONDS = 600.0
"""A session without a socket may still start for so long."""


class Session:
    """The session of a Ray that this process starts.

    The next command removes the sessions of dead ones, which could not do that themselves.
    """

    def __init__(self) -> None:
        """Know of no session yet."""
        self._folder: Path | None = None

    def started(self) -> None:
        """Take the session of the Ray that runs; remove those of dead commands beside it."""
        node: Any = ray._private.worker._global_node
        self._folder = Path(node.get_session_dir_path())
        for other in self._folder.parent.glob("session_2*"):
            if other != self._folder and is_dead(other):
                shutil.rmtree(other, ignore_errors=True)

    def remove(self) -> None:
        """Remove the session; Ray has been shut down."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def is_dead(session: Path) -> bool:
    """Return True if nobody listens at the socket of a session's raylet."""
    with socket.socket(socket.AF_UNIX) as raylet:
        try:
            raylet.connect(str(session / "sockets" / "raylet"))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                return time.time() - session.stat().st_mtime > START_SECONDS
        except OSError:
            return False
    return False
