"""The watch of a command over its Ray: a command whose Ray is lost ends with a message.

Ray ends a process at once, with exit code 1 and without a word, if it uses the object store of a
raylet that died, or has not reached the head for a minute. Until then, calls of Ray may wait and
cannot be interrupted. So a thread ends this process before.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import ray

from rum_ray.errors import StalledError

ASK_SECONDS = 5.0
"""Time between two connections to the head, and the longest time of one."""
LOST_SECONDS = 30.0
"""Without a connection for so long, a head is lost; Ray's own limit is 60 s."""
POLL_SECONDS = 0.05
"""Time between two looks for the node of this process while Ray starts."""


class Watch:
    """Ends this process if the raylet of its machine or the head of its cluster is lost.

    Args:
        say: receives the reason, in one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Watch nothing yet."""
        self._say, self._ended = say, threading.Event()

    def begin(self) -> None:
        """Watch from now on; Ray may still have to start."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no more; call this before Ray is shut down."""
        self._ended.set()

    def _watch(self) -> None:
        """Wait for the node of this process, then for the loss of its Ray."""
        ended = self._ended
        while (node := ray._private.worker._global_node) is None:
            if ended.wait(POLL_SECONDS):
                return
        host, _, port = node.gcs_address.rpartition(":")
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.settimeout(ASK_SECONDS)
            reached, lost = time.monotonic(), _is_closed(raylet, node, connect=True)
            while not ended.is_set():
                if lost:
                    self._leave("the raylet of this machine has died.")
                try:
                    socket.create_connection((host, int(port)), timeout=ASK_SECONDS).close()
                    reached = time.monotonic()
                except OSError:
                    if time.monotonic() - reached > LOST_SECONDS and not ended.is_set():
                        self._leave(
                            f"the head of the Ray cluster at {host}:{port} has not answered for "
                            f"{LOST_SECONDS:.0f} s."
                        )
                lost = _is_closed(raylet, node)

    def _leave(self, reason: str) -> NoReturn:
        """Tell the reason and end this process."""
        with contextlib.suppress(Exception):
            self._say(
                f"rum-ray: {reason} Finished results are in the store. Start the cluster again, if "
                "it is not one of this command; the same command goes on from here."
            )
        os._exit(StalledError.exit_code)


def _is_closed(raylet: socket.socket, node: Any, connect: bool = False) -> bool:
    """Return True if the raylet has closed a connection, or accepts none; wait for ASK_SECONDS.

    The operating system closes the connection at once when the process of the raylet ends.
    """
    try:
        if connect:
            raylet.connect(node.raylet_socket_name)
            return False
        return not raylet.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True
