"""What is installed, writable and secured."""

import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rum_ray.errors import StoreError
from rum_ray.store import Store
from rum_ray.study.output_folder import check_writable

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "pyarrow", "scikit-learn")


def examine(store: str) -> list[dict[str, Any]]:
    """Return one entry a check: what, whether it is well, and what was found."""
    return [
        {"check": name, "ok": ok, "found": found}
        for name, ok, found in (*_packages(), *_machine(), *_storage(store), _token())
    ]


def _packages() -> Iterator[tuple[str, bool, str]]:
    yield "python", True, platform.python_version()
    for name in PACKAGES:
        try:
            yield name, True, version(name)
        except PackageNotFoundError:
            yield name, False, "not installed"


def _machine() -> Iterator[tuple[str, bool, str]]:
    import torch

    from rum_ray.models.vision import vision

    yield "torchvision imports", True, vision.__name__
    yield "cores", True, str(os.cpu_count())
    yield "cpu", True, torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    yield "gpu", True, gpu


def _storage(store: str) -> Iterator[tuple[str, bool, str]]:
    try:
        check_writable(Store(store))
        yield "store", True, f"{store}, writable"
    except StoreError as error:
        yield "store", False, str(error)
    shared = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    yield "temporary space", shared > 1, f"{shared:.1f} GiB free"


def _token() -> tuple[str, bool, str]:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not path.exists():
        return "ray token", True, "none yet; made when Ray first starts"
    mode = stat.S_IMODE(path.stat().st_mode)
    return "ray token", not mode & 0o077, f"{path}, mode {mode:o}"
