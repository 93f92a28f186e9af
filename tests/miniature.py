"""A miniature of the demo: its settings, plug-ins, and runs of the command line in a folder."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import rum_ray

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
SETTINGS = (
    "score.models=16",
    "score.fraction=0.5",
    "score.recipe={model: mlp, epochs: 1, batch_size: 256}",
    "recipe.epochs=2",
    "recipe.batch_size=256",
    "forget.size=30",
    "plan.medium={name: finetune, epochs: 1, batch_size: 256}",
    "plan.high={name: salun, epochs: 1, batch_size: 256}",
    "compare=[{name: finetune, epochs: 1, batch_size: 256}]",
    "search.unlearners=[nothing, {name: finetune, epochs: 1, batch_size: 256}]",
    "search.budget=",
    "search.spaces=[V0, V1, V4]",
    "search.reference=oracle",
    "search.also=[]",
    "search.trials=4",
    "search.finalists=2",
    "search.fresh=2",
    "search.rows=2",
    "search.max_cost=9",
    "seeds=[0, 1]",
)
TRAPPED = '''
"""The digits, with a T that must not be touched."""

import dataclasses

from rum_ray.data import DataBundle
from rum_ray.data import digits as whole


class Trap:
    def __len__(self):
        return 397

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError("somebody looked at T")


def digits() -> DataBundle:
    return dataclasses.replace(whole(), test=Trap())
'''
SHIPPED = '''
"""The digits, from a module that the workers do not have until it is shipped."""

from rum_ray.data import digits as digits
'''
BROKEN = '''
"""An unlearner with a bug, and one with a permanent error."""

from dataclasses import dataclass

from rum_ray.errors import DataError
from rum_ray.unlearning import FineTune


@dataclass(frozen=True, kw_only=True)
class Broken(FineTune):
    name = "broken"

    def losses(self, model, teacher, data, epoch):
        raise KeyError("of two\\nlines")


@dataclass(frozen=True, kw_only=True)
class Refused(FineTune):
    name = "refused"

    def losses(self, model, teacher, data, epoch):
        raise DataError("nobody may learn this")
'''
FREE = 8
GATED = f'''
"""A multilayer perceptron that workers of Ray cannot build more often than a gate allows.

The environment names the gate, a folder. Each worker's call leaves a mark in it, and waits for ever
if there are more than {FREE}. The driver builds models freely.
"""

import os
import sys
import time
import uuid
from pathlib import Path

from torch import nn

from rum_ray.models import MODELS


def mlp(shape, num_classes) -> nn.Module:
    gate = os.environ.get("MODEL_GATE")
    if gate is not None and "worker" in Path(sys.argv[0]).name:
        (Path(gate) / uuid.uuid4().hex).touch()
        while len(list(Path(gate).iterdir())) > {FREE}:
            time.sleep(0.05)
    return MODELS["mlp"](shape, num_classes)
'''


def write_plugins(folder: Path) -> Path:
    """Write the plug-ins, each a package of its own, to a new folder."""
    for name, text in {
        "trapped": TRAPPED,
        "shipped": SHIPPED,
        "broken": BROKEN,
        "gated": GATED,
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text)
    return folder


def flags(*settings: str) -> list[str]:
    """Settings as arguments of the command line."""
    return [part for setting in settings for part in ("--set", setting)]


@dataclass(frozen=True)
class Run:
    """A folder in which the command line runs the miniature."""

    folder: Path
    environment: Mapping[str, str]
    settings: tuple[str, ...] = SETTINGS

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def out(self) -> Path:
        return self.folder / "out" / "digits"

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command on the miniature; arguments override its settings."""
        line = [Path(sys.executable).with_name("rum-ray"), command]
        line += [] if command == "demo" else [DEMO]
        self.folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [*line, *flags(*self.settings), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def __call__(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, standard output and standard error."""
        process = self.start(command, *arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    def report(self) -> dict[str, Any]:
        return json.loads((self.out / "report.json").read_text("utf-8"))

    def artifacts(self, *kinds: str) -> dict[str, str]:
        """The SHA-256 of the file of every artifact."""
        return {
            str(path.relative_to(self.store)): hashlib.sha256(path.read_bytes()).hexdigest()
            for kind in kinds or ("*",)
            for path in sorted(self.store.glob(f"{kind}/*.safetensors"))
        }

    def count(self, *kinds: str) -> int:
        return sum(len(list(self.store.glob(f"{kind}/*.safetensors"))) for kind in kinds)

    def table(self, name: str) -> pd.DataFrame:
        idle = ["seconds", "steps_run", "cache_hits"]
        return pd.read_parquet(self.out / f"{name}.parquet").drop(columns=idle, errors="ignore")

    def until(
        self, process: subprocess.Popen[str], ready: Callable[[], bool], seconds: float = 600
    ) -> None:
        """Wait for something that a running process brings about."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.02)


def of_science(report: Any) -> Any:
    """The part of a report that does not depend on where, when and how fast it was made."""
    if isinstance(report, dict):
        idle = ("environment", "stages", "seconds", "cluster")
        parts = {key: value for key, value in report.items() if key not in idle}
        if isinstance(parts.get("config"), str):
            parts["config"] = yaml.safe_load(parts["config"])
        return {key: of_science(value) for key, value in parts.items()}
    return [of_science(value) for value in report] if isinstance(report, list) else report
