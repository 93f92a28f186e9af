"""Bits of two steps of every model: `python tests/canary.py` prints them for this machine.

A digest is that of the weights after two steps from one seed. It is the same in every process of a
machine. Machines of another kind may have others: CANARY records them by kind.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch

from rum_ray.data import LabeledData
from rum_ray.models import MODELS
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

CANARY = Path(__file__).with_suffix(".json")
EXAMPLES = 8


def kind() -> str:
    """Return the kind of this machine: version of PyTorch, model of the CPU, digest of its flags.

    Libraries choose code by instruction sets and sizes of caches, which a name may not tell.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    fields = {"model name": platform.processor() or platform.machine()}
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in info.read_text("utf-8").splitlines()]
        fields |= {name.strip(): value.strip() for name, _, value in lines}
    names = ("cpu family", "model", "stepping", "cache size", "flags")
    text = json.dumps([fields.get(name) for name in names])
    flags = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"torch {torch.__version__}, {capability}, {fields['model name']}, {flags}"


def recipes() -> dict[str, Recipe]:
    """Return a recipe per model, and one in half precision."""
    small = {"epochs": 1, "lr": 0.05, "batch_size": EXAMPLES // 2}
    each = {name: Recipe(name, **small, augment=name == "resnet18") for name in MODELS}
    return {**each, "small_cnn in bfloat16": Recipe("small_cnn", **small, precision="bfloat16")}


def digests() -> dict[str, str]:
    """Train each model for two steps, and return the digests of the weights."""
    x = (Seed(0) / "canary").uniform(EXAMPLES * 3 * 32 * 32).reshape(EXAMPLES, 3, 32, 32)
    data = LabeledData(torch.from_numpy(x).float(), np.arange(EXAMPLES) % 4, num_classes=4)
    found = {}
    for name, recipe in recipes().items():
        state = recipe.fit(data, LocalRuntime(Seed(1) / name)).state_dict()
        weights = b"".join(state[key].contiguous().numpy().tobytes() for key in sorted(state))
        found[name] = hashlib.sha256(weights).hexdigest()[:16]
    return found


if __name__ == "__main__":
    json.dump({kind(): digests()}, sys.stdout, indent=2)
    print()
