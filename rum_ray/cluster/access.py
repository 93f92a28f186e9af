"""Access to clusters: a private temporary folder, Ray's token, and clusters that ask for none.

Nothing here imports Ray.
"""

import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from rum_ray.errors import StoreError, UnsafeError
from rum_ray.files import PRIVATE, write_once

LOOPBACK = "127.0.0.2"
"""Address of a local cluster. Ray replaces 127.0.0.1 by an address that other machines reach."""
LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket; Linux allows no more."""
SOCKET = "session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""Path of Ray's socket with the longest name, within its temporary folder."""
RAY_LETTERS = 7
"""Length of the name of the temporary folder of one Ray, which `new_ray_folder` makes up."""
PROBE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""Method of the head that answers without a token if the cluster asks for none."""
PROBE_SECONDS = 20.0


def private_folder(say: Callable[[str], None] = lambda line: None) -> Path:
    """Return the temporary folder that no other user can open; create it if absent.

    Args:
        say: receives a line if TMPDIR is too long for Ray's sockets, and /tmp is used instead.

    Raises:
        StoreError: the folder cannot be created.
        UnsafeError: another user made the folder, or it is a link.
    """
    own = f"rum-ray-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / own
    if len(os.fsencode(folder / ("r" * RAY_LETTERS) / SOCKET)) > LONGEST_SOCKET:
        folder = Path("/tmp") / own
        say(f"TMPDIR is too long a path for Ray's sockets; they lie in {folder}.")
    make_private(folder)
    return folder


def new_ray_folder(parent: Path) -> Path:
    """Return the path of a temporary folder for one start of Ray; it does not exist yet."""
    return parent / f"r{secrets.token_hex(RAY_LETTERS // 2)}"


def make_private(folder: Path) -> None:
    """Create a folder for this user alone, or close an existing one to others.

    Raises:
        StoreError: the folder cannot be created.
        UnsafeError: another user made it, or it is no folder but a link or a file.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            # Its owner alone can replace it, as a temporary folder has the sticky bit.
            folder.chmod(0o700)
            return
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(
            f"cannot create {folder}: {error.strerror}. Set TMPDIR to a folder that you can write."
        ) from error
    raise UnsafeError(
        f"{folder} is not a folder of this user, so others could change what Ray runs. Remove it, "
        "or set TMPDIR to another folder."
    )


def token_path() -> Path:
    """Return the file of Ray's token.

    Raises:
        StoreError: this user has no home folder.
    """
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(named)
    try:
        return Path.home() / ".ray" / "auth_token"
    except RuntimeError as error:
        raise _no_token("~/.ray/auth_token", "there is no home folder") from error


def token_fault(path: Path) -> str | None:
    """Return the reason for which the file of a token is not private; None if it is, or is absent.

    A file of root, as Kubernetes mounts it, may be readable by a group.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    mode, own = stat.S_IMODE(status.st_mode), status.st_uid == os.getuid()
    if not own and status.st_uid != 0:
        return f"{path} belongs to another user"
    if mode & (0o077 if own else 0o027):
        return f"{path} has mode {mode:o}, so other users can read the token"
    return None


def check_token(local: bool) -> None:
    """Check that the token is private, and make the one of local clusters if there is none.

    Raises:
        StoreError: the file cannot be written.
        UnsafeError: other users can read or change the file.
    """
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = token_path()
    if fault := token_fault(path):
        raise UnsafeError(
            f"{fault}, and could run code in your clusters. Replace it by a new one that is yours: "
            f"rm {path}; for a cluster that runs already, chmod 600 {path}."
        )
    if not local or path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_once(path, secrets.token_hex(32).encode(), PRIVATE)
    except OSError as error:
        raise _no_token(str(path), error.strerror or str(error)) from error


def check_open(address: str, insecure: bool) -> None:
    """Raise UnsafeError if a cluster asks for no token, unless that is wanted.

    Args:
        address: HOST:PORT of a running cluster; "local" is about the settings of a new one.
        insecure: True allows it.
    """
    if insecure:
        return
    remedy = (
        "everyone who reaches its ports can run code in it. Start it with RAY_AUTH_MODE=token, or "
        "accept that with --insecure."
    )
    if address == "local":
        if os.environ.get("RAY_AUTH_MODE") == "disabled":
            raise UnsafeError(f"RAY_AUTH_MODE is disabled for a cluster of this machine: {remedy}")
    elif asks_for_token(address) is False:
        raise UnsafeError(f"the Ray cluster at {address} asks for no token: {remedy}")


def asks_for_token(address: str) -> bool | None:
    """Return True if the head of a cluster refuses calls without a token; None without an answer.

    Args:
        address: HOST:PORT of the head.
    """
    # Ray brings gRPC along.
    import grpc

    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(PROBE)(b"", timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return True if error.code() == grpc.StatusCode.UNAUTHENTICATED else None
    return False


def check_announcement(path: Path) -> None:
    """Raise UnsafeError if another user wrote the file that says where "auto" finds a cluster."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return
    if owner not in (0, os.getuid()):
        raise UnsafeError(
            f"--address auto: another user wrote {path}, and could receive your token. Name the "
            "cluster by HOST:PORT."
        )


def _no_token(path: str, reason: str) -> StoreError:
    return StoreError(
        f"cannot write Ray's token to {path}: {reason}. Set HOME to a folder that you can write, "
        "or RAY_AUTH_TOKEN_PATH to a file in one."
    )
