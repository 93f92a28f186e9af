"""The watch of a process over its Ray: a process whose Ray is lost ends with a message.

Ray ends a process at once, with exit code 1 and without a word, if it uses the object store of a
raylet that died, or has not reached the head for a minute. Until then, calls of Ray may wait and
cannot be interrupted. So a thread ends this process before.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import ray

from rum_ray.errors import StalledError

ASK_SECONDS = 5.0
"""Time between two connections to the head, and the longest time of one."""
LOST_SECONDS = 30.0
"""Without a connection for so long, a head is lost; Ray's own limit is 60 s."""
POLL_SECONDS = 0.05
"""Time between two looks for the node of this process while Ray starts."""
Say: TypeAlias = Callable[[str], None]
"""Receives a line about the cluster, for the terminal and the journal."""


@contextlib.contextmanager
def watched(say: Say) -> Iterator[None]:
    """End this process within a `with` block if its raylet or the head of its cluster is lost.

    Ray may start within the block, and must not be shut down in it.

    Args:
        say: receives the reason, in one line.
    """
    ended = threading.Event()
    threading.Thread(target=_watch, args=(say, ended), name="watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(say: Say, ended: threading.Event) -> None:
    """Wait for the node of this process, then for the loss of its Ray."""
    while (node := ray._private.worker._global_node) is None:
        if ended.wait(POLL_SECONDS):
            return
    host, _, port = node.gcs_address.rpartition(":")
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.settimeout(ASK_SECONDS)
        reached, lost = time.monotonic(), not _connects(raylet, node)
        while not ended.is_set():
            if lost:
                _leave(say, "the raylet of this machine has died.")
            try:
                socket.create_connection((host, int(port)), timeout=ASK_SECONDS).close()
                reached = time.monotonic()
            except OSError:
                if time.monotonic() - reached > LOST_SECONDS and not ended.is_set():
                    _leave(
                        say,
                        f"the head of the Ray cluster at {host}:{port} has not answered for "
                        f"{LOST_SECONDS:.0f} s.",
                    )
            lost = _is_closed(raylet)


def _leave(say: Say, reason: str) -> NoReturn:
    """Tell the reason and end this process."""
    with contextlib.suppress(Exception):
        say(
            f"rum-ray: {reason} Finished results are in the store. Start the cluster again, if "
            "it is not one of this command; the same command goes on from here."
        )
    os._exit(StalledError.exit_code)


def _connects(raylet: socket.socket, node: Any) -> bool:
    """Connect to the raylet of a node; return False if it accepts no connection."""
    try:
        raylet.connect(node.raylet_socket_name)
    except OSError:
        return False
    return True


def _is_closed(raylet: socket.socket) -> bool:
    """Return True if the raylet has closed a connection; wait for that for ASK_SECONDS.

    The operating system closes the connection at once when the process of the raylet ends.
    """
    try:
        return not raylet.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True
