"""Checks of the installation: packages, hardware, storage, and access to Ray and to files."""

import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rum_ray.cli.sockets import Listener, ray_listeners
from rum_ray.errors import StoreError
from rum_ray.store import Key, Store
from rum_ray.study.executor import check_address
from rum_ray.study.output_folder import check_writable

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pyarrow", "scikit-learn")
IMPORT_SECONDS = 60.0
MIN_TEMPORARY_GIB = 1.0

State: TypeAlias = Literal["ok", "warning", "WRONG"]


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        check: name of the check.
        state: "ok"; "warning", which affects code outside rum_ray; or "WRONG".
        found: the value that was found, or the reason.
    """

    check: str
    state: State
    found: str

    @property
    def ok(self) -> bool:
        """True unless rum_ray itself is affected."""
        return self.state != "WRONG"


def examine(store: str, address: str = "local") -> dict[str, Any]:
    """Return the checks, as `--json` prints them, and the names of wrong ones; write nothing.

    Args:
        store: folder or URI of artifacts.
        address: of a Ray cluster; HOST:PORT is asked whether it wants a token.

    Raises:
        ConfigError: the address is neither a word of the flag nor HOST:PORT.
    """
    check_address(address)
    checks = [*_packages(), *_machine(), *_storage(store), *_access(address)]
    return {
        "checks": [{**asdict(check), "ok": check.ok} for check in checks],
        "wrong": [check.check for check in checks if not check.ok],
    }


def _packages() -> Iterator[Check]:
    yield Check("python", "ok", platform.python_version())
    for name in PACKAGES:
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            yield Check(name, "WRONG", "not installed")


def _machine() -> Iterator[Check]:
    import torch

    from rum_ray.models.vision import vision

    yield Check("torchvision imports", "ok", vision.__name__)
    yield _plain_torchvision()
    yield Check("cores", "ok", str(os.cpu_count()))
    yield Check("cpu", "ok", torch.backends.cpu.get_cpu_capability())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    yield Check("gpu", "ok", gpu)


def _plain_torchvision() -> Check:
    """Import torchvision in a new process, where `rum_ray.models.vision` is not imported first."""
    name = "torchvision imports outside rum_ray"
    try:
        subprocess.run(
            [sys.executable, "-c", "import torchvision"],
            capture_output=True,
            check=True,
            timeout=IMPORT_SECONDS,
        )
    except subprocess.CalledProcessError:
        return Check(name, "warning", "no; import rum_ray.models.vision first")
    except subprocess.TimeoutExpired:
        return Check(name, "warning", f"unknown; the import took over {IMPORT_SECONDS:.0f} s")
    return Check(name, "ok", "yes")


def _storage(store: str) -> Iterator[Check]:
    place = Store(store)
    try:
        check_writable(place)
        if place.folder is None:
            # A request for one key lists a folder: an absent bucket and refused keys are errors.
            place.has(Key.named("pool", "doctor"))
        found = "writable" if place.folder else "readable; nothing was written to it"
        yield Check("store", "ok", f"{place.shown}, {found}")
    except StoreError as error:
        yield Check("store", "WRONG", str(error))
    if place.folder is not None:
        yield _private("store access", place.folder)
    temporary = Path(tempfile.gettempdir())
    yield _private("temporary folder", temporary / f"rum-ray-{os.getuid()}")
    yield _ray_folder()
    free = shutil.disk_usage(temporary).free / 2**30
    state: State = "ok" if free > MIN_TEMPORARY_GIB else "WRONG"
    yield Check("temporary space", state, f"{free:.1f} GiB free")


def _private(name: str, folder: Path) -> Check:
    """Check that nobody else can change a folder; one that others can read is a warning."""
    try:
        status = folder.lstat()
    except OSError:
        return Check(name, "ok", f"{folder}: absent; made for this user alone")
    mode = stat.S_IMODE(status.st_mode)
    found = f"{folder}, mode {mode:o}"
    if status.st_uid != os.getuid():
        return Check(name, "WRONG", f"{found}, owned by another user, who can change it")
    if mode & 0o077:
        state: State = "WRONG" if mode & 0o002 else "warning"
        who = "everyone can change it" if mode & 0o002 else "others can read or change it"
        return Check(name, state, f"{found}: {who}; chmod 700 {folder}")
    return Check(name, "ok", found)


def _ray_folder() -> Check:
    """Check the folder of clusters by `ray start`, which Ray opens to every user."""
    name, parent = "ray folder", Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    folder = parent / "ray"
    try:
        is_open = folder.stat().st_mode & 0o002 and parent.stat().st_mode & 0o001
    except OSError:
        return Check(name, "ok", f"{folder}: absent")
    if is_open:
        found = f"{folder}: every user of this machine can change the code that Ray ships"
        return Check(name, "warning", f"{found}; set RAY_TMPDIR to a folder of mode 700")
    return Check(name, "ok", f"{folder}, closed to other users")


def _access(address: str) -> Iterator[Check]:
    """Check the token, the mode of authentication, and the sockets of Ray on this machine."""
    from rum_ray.cluster import access

    mode = os.environ.get("RAY_AUTH_MODE", "token")
    yield Check("ray authentication", "ok" if mode == "token" else "WRONG", f"mode {mode}")
    yield _token()
    listeners = ray_listeners()
    yield _sockets(listeners)
    heads = {f"127.0.0.1:{each.port}" for each in listeners if each.process == "gcs_server"}
    for head in sorted(heads | ({address} if ":" in address else set())):
        asks = access.asks_for_token(head)
        state: State = "WRONG" if asks is False else "warning" if asks is None else "ok"
        found = {True: "asks for a token", False: "asks for no token: everyone can run code in it"}
        yield Check(f"cluster {head}", state, found.get(asks, "does not answer"))  # type: ignore[arg-type]


def _token() -> Check:
    """Check that the file of Ray's token is private, or can be made."""
    from rum_ray.cluster import access

    name = "ray token"
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Check(name, "ok", "in RAY_AUTH_TOKEN")
    try:
        path = access.token_path()
    except StoreError as error:
        return Check(name, "WRONG", str(error))
    if fault := access.token_fault(path):
        return Check(name, "WRONG", fault)
    if os.access(path, os.F_OK):
        return Check(name, "ok", f"{path}, private")
    folder = next(each for each in path.absolute().parents if os.access(each, os.F_OK))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Check(name, "WRONG", f"{path}: cannot be made; set HOME or RAY_AUTH_TOKEN_PATH")
    return Check(name, "ok", f"{path}: none yet; made when Ray first starts")


def _sockets(listeners: Sequence[Listener]) -> Check:
    """List the sockets that other machines can reach, by process."""
    far = sorted({f"{each.process} {each.port}" for each in listeners if not each.is_local})
    if far:
        found = f"other machines reach {', '.join(far)}; allow them by a firewall only"
        return Check("ray sockets", "warning", found)
    return Check("ray sockets", "ok", "none that other machines reach")
