"""Heads of clusters that run beside the tests, as `ray start` makes them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running_head(
    folder: Path, environment: Mapping[str, str], port: int, *options: str
) -> Iterator[None]:
    """Run the head of a cluster at 127.0.0.1 and this port, with a log beside its folder.

    It asks for a token unless the environment has another RAY_AUTH_MODE.
    """
    log = folder.with_suffix(".log")
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
    command += [f"--port={port}", f"--ray-client-server-port={free_port()}"]
    command += ["--node-ip-address=127.0.0.1", f"--object-store-memory={100 * 2**20}"]
    command += [f"--temp-dir={folder}", "--disable-usage-stats", *options]
    try:
        # On a busy machine, Ray's own patience may not suffice.
        for _ in range(3):
            with log.open("w") as file:
                head = subprocess.Popen(
                    command,
                    env={"RAY_AUTH_MODE": "token", **environment},
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            if _has_started(head, log):
                break
            _kill(head)
        else:
            raise AssertionError(log.read_text())
        yield
    finally:
        _kill(head)


def _has_started(head: subprocess.Popen, log: Path) -> bool:
    """Wait for the line that Ray runs; return False if the process ends before."""
    deadline = time.monotonic() + 600
    while "Ray runtime started" not in log.read_text():
        if head.poll() is not None:
            return False
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return True


def _kill(head: subprocess.Popen) -> None:
    """End a head at once, as a graceful end takes half a minute. Its processes are in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()
