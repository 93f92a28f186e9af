"""The sockets on which Ray's processes of this user listen, as Linux lists them in /proc."""

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that accepts connections.

    Attributes:
        process: short name of the process that holds it.
        host: IP address that it is bound to; "::" and "0.0.0.0" are all.
        port: its port.
    """

    process: str
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """True if other machines cannot reach it."""
        return ipaddress.ip_address(self.host).is_loopback


def ray_listeners(proc: Path = PROC) -> list[Listener]:
    """Return the listening sockets of Ray's processes that this user may look into.

    Args:
        proc: where the process file system is mounted.
    """
    bound = {inode: address for file in ("tcp", "tcp6") for inode, address in _bound(proc, file)}
    found = {
        Listener(name, *bound[inode])
        for folder in proc.glob("[0-9]*")
        if (name := _ray_name(folder))
        for inode in _inodes(folder)
        if inode in bound
    }
    return sorted(found)


def _bound(proc: Path, file: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield the inode, address and port of each listening socket in a table of the kernel."""
    with contextlib.suppress(OSError):
        for line in (proc / "net" / file).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                address, _, port = fields[1].rpartition(":")
                yield fields[9], (_host(address), int(port, 16))


def _host(text: str) -> str:
    """Return an IP address that the kernel prints as hexadecimal words in its own byte order."""
    words = [bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _ray_name(folder: Path) -> str | None:
    """Return the short name of a process of Ray; None for any other."""
    with contextlib.suppress(OSError):
        words = (folder / "cmdline").read_text(errors="replace").split("\0")
        program = Path(words[0]).name
        if program in ("gcs_server", "raylet") or words[0].startswith("ray::"):
            return program if program in ("gcs_server", "raylet") else words[0].strip()
        scripts = (Path(word) for word in words[1:3])
        return next((s.parent.name + "/" + s.name for s in scripts if "ray" in s.parts), None)
    return None


def _inodes(folder: Path) -> Iterator[str]:
    """Yield the inodes of the open sockets of a process."""
    with contextlib.suppress(OSError):
        for file in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(file.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]
