"""Versions and hardware. No result depends on them."""

import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from rum_ray import __version__
from rum_ray.results.schema import Environment


def environment(threads: int, workers: int) -> Environment:
    """Return the versions, the hardware of this process, and the settings of the cluster."""
    return Environment(**machine(), threads=threads, workers=workers)


def machine() -> dict[str, str]:
    """Return the versions of all packages that compute, and the hardware of this process."""
    return {
        "rum_ray": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": version("ray"),
        "numpy": np.__version__,
        "hardware": _hardware(),
    }


def _hardware() -> str:
    """Return the name of the GPU, or number and name of the CPU cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
