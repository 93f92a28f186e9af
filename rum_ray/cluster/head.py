"""The head of a cluster: a command whose head is lost ends with a message.

Ray ends every process that has not reached the head for a minute, with exit code 1 and without a
word. Until then, calls of Ray wait and cannot be interrupted. So a thread ends this process before.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import ray

from rum_ray.errors import StalledError

ASK_SECONDS = 5.0
"""Time between two connections to the head, and the longest time of one."""
LOST_SECONDS = 30.0
"""Without a connection for so long, a head is lost; Ray's own limit is 60 s."""


@contextlib.contextmanager
def watched_head(say: Callable[[str], None]) -> Iterator[None]:
    """End this process within a `with` block if the head of its cluster is lost.

    Args:
        say: receives the reason, in one line.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    ended = threading.Event()

    def watch() -> None:
        reached = time.monotonic()
        while not ended.wait(ASK_SECONDS):
            try:
                socket.create_connection((host, int(port)), timeout=ASK_SECONDS).close()
                reached = time.monotonic()
            except OSError:
                if time.monotonic() - reached > LOST_SECONDS:
                    say(
                        f"rum-ray: the head of the Ray cluster at {host}:{port} has not answered "
                        f"for {LOST_SECONDS:.0f} s. Start the cluster again; the same command goes "
                        "on from here."
                    )
                    os._exit(StalledError.exit_code)

    threading.Thread(target=watch, name="head", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
