"""Ports and programs for the tests of deploy/."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def ports() -> Callable[[int], list[int]]:
    return free_ports


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a program beside this Python, or on the PATH; skips without it."""

    def find(name: str) -> str:
        path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if path is None:
            pytest.skip(f"{name} is not installed")
        return path

    return find
