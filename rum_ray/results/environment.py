"""Versions and hardware, which are no part of the results."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rum_ray import __version__
from rum_ray.study.study import Study


def environment(study: Study) -> dict[str, Any]:
    """Return versions and hardware, which are no part of the results."""
    return {
        **machine(),
        "threads": study.experiment.recipe.threads,
        "workers": study.experiment.cluster.workers,
    }


def machine() -> dict[str, str]:
    """Return the versions of what computes, and the hardware of this process."""
    return {
        "rum_ray": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ray": version("ray"),
        "numpy": np.__version__,
        "hardware": _hardware(),
    }


def _hardware() -> str:
    """Return what the driver runs on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
