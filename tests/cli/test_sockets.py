"""The sockets on which Ray listens, as the kernel lists them."""

import os
import socket
import sys

import pytest

from rum_ray.cli.sockets import Listener, ray_listeners

HEADER = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid  t inode\n"
)


def row(address: str, state: str, inode: int) -> str:
    return f" 0: {address} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1 0\n"


@pytest.fixture
def proc(tmp_path):
    """A process file system with three processes of Ray, and one of another program."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        HEADER
        + row("0100007F:CD5D", "0A", 11)
        + row("00000000:ACB9", "0A", 12)
        + row("0200007F:1F90", "01", 13)
        + row("00000000:0016", "0A", 14)
    )
    (tmp_path / "net" / "tcp6").write_text(
        HEADER
        + row("00000000000000000000000000000000:18EB", "0A", 15)
        + row("00000000000000000000000001000000:18EC", "0A", 16)
    )
    for number, (words, inodes) in enumerate(
        (
            (["/x/ray/core/src/ray/gcs/gcs_server", "--a"], (15, 16)),
            (["ray::DashboardAgent   "], (11, 13)),
            (["python", "-u", "/x/ray/dashboard/dashboard.py"], (12,)),
            (["sshd"], (14,)),
        )
    ):
        folder = tmp_path / str(100 + number)
        (folder / "fd").mkdir(parents=True)
        (folder / "cmdline").write_text("\0".join(words) + "\0")
        for inode in inodes:
            (folder / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
    (tmp_path / "200").mkdir()
    return tmp_path


def test_the_listening_sockets_of_ray_by_process(proc):
    found = ray_listeners(proc)
    assert found == [
        Listener("dashboard/dashboard.py", "0.0.0.0", 44217),
        Listener("gcs_server", "::", 6379),
        Listener("gcs_server", "::1", 6380),
        Listener("ray::DashboardAgent", "127.0.0.1", 52573),
    ]
    assert [each.is_local for each in found] == [False, False, True, True]


def test_a_real_process_is_found_by_its_name(monkeypatch):
    from rum_ray.cli import sockets

    before = sockets._ray_name
    mine = str(os.getpid())
    monkeypatch.setattr(
        sockets, "_ray_name", lambda f: "raylet" if f.name == mine else before(f) and None
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert Listener("raylet", "127.0.0.1", port) in ray_listeners()
    assert sys.platform == "linux"
