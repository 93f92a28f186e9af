"""Checks of the installation: packages, hardware, storage and Ray's token."""

import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rum_ray.errors import StoreError
from rum_ray.store import Store
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


def examine(store: str) -> list[dict[str, Any]]:
    """Return the checks, as `--json` prints them; write nothing.

    Args:
        store: folder or URI of artifacts.
    """
    checks = (*_packages(), *_machine(), *_storage(store), _token())
    return [{**asdict(check), "ok": check.ok} for check in checks]


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
    try:
        check_writable(Store(store))
        yield Check("store", "ok", f"{store}, writable")
    except StoreError as error:
        yield Check("store", "WRONG", str(error))
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    state: State = "ok" if free > MIN_TEMPORARY_GIB else "WRONG"
    yield Check("temporary space", state, f"{free:.1f} GiB free")


def _token() -> Check:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not path.exists():
        return Check("ray token", "ok", "none yet; made when Ray first starts")
    mode = stat.S_IMODE(path.stat().st_mode)
    return Check("ray token", "WRONG" if mode & 0o077 else "ok", f"{path}, mode {mode:o}")
