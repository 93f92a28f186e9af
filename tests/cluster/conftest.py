"""A miniature of the demo through the command line, and a Ray in this process."""

import contextlib
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import rum_ray
from rum_ray import config
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.study import Study

DEMO = Path(rum_ray.__file__).parent / "demo.yaml"
SETTINGS = (
    "score.models=16",
    "score.fraction=0.5",
    "score.recipe={model: mlp, epochs: 16, batch_size: 64}",
    "recipe.epochs=3",
    "forget.size=30",
    "compare=[finetune]",
    "search.trials=4",
    "search.max_cost=4",
    "seeds=[0, 1]",
)
TRAPPED = '''
"""The digits, with a T that must not be touched."""

import dataclasses

from rum_ray.data import digits as whole


class Trap:
    def __len__(self):
        return 397

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError("somebody looked at T")


def digits():
    return dataclasses.replace(whole(), test=Trap())
'''
BROKEN = '''
"""An unlearner with a bug, and one that is refused."""

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


@dataclass(frozen=True)
class Run:
    """A folder in which the command line is run on the miniature."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def out(self) -> Path:
        return self.folder / "out" / "digits"

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a verb on the miniature; arguments count after its settings."""
        command = [Path(sys.executable).with_name("rum-ray"), verb]
        command += [] if verb == "demo" else [DEMO]
        command += [part for setting in SETTINGS for part in ("--set", setting)]
        self.folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def __call__(self, verb: str, *arguments: str) -> tuple[int, str, str]:
        """Run a verb and return its exit code, standard output and standard error."""
        process = self.start(verb, *arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    def report(self) -> dict[str, Any]:
        return json.loads((self.out / "report.json").read_text("utf-8"))

    def artifacts(self, *kinds: str) -> dict[str, str]:
        """The SHA-256 of every artifact's file."""
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

    def assert_same_science(self, other: "Run") -> None:
        """Same bits in every artifact, table and number."""
        assert self.artifacts() == other.artifacts()
        assert of_science(self.report()) == of_science(other.report())
        for name in ("scores", "trials"):
            pd.testing.assert_frame_equal(self.table(name), other.table(name), check_exact=True)

    def until(
        self, process: subprocess.Popen[str], ready: Callable[[], bool], seconds: float = 300
    ) -> None:
        """Wait for something that a running process is to bring about."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.02)


def of_science(report: Any) -> Any:
    """A report without what is no result: where, when and how long."""
    if isinstance(report, dict):
        idle = ("environment", "stages", "seconds", "cluster")
        parts = {key: value for key, value in report.items() if key not in idle}
        if isinstance(parts.get("config"), str):
            parts["config"] = yaml.safe_load(parts["config"])
        return {key: of_science(value) for key, value in parts.items()}
    return [of_science(value) for value in report] if isinstance(report, list) else report


@pytest.fixture(scope="session")
def science() -> Callable[[Any], Any]:
    """A function that strips a report of what is no result."""
    return of_science


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder whose path is short enough for Ray's sockets; it has the plug-ins, too."""
    with tempfile.TemporaryDirectory(prefix="rum", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        (place / "plugins" / "trapped").mkdir(parents=True)
        (place / "plugins" / "trapped" / "__init__.py").write_text(TRAPPED)
        (place / "plugins" / "broken.py").write_text(BROKEN)
        (place / "token").write_text("a" * 64)
        (place / "token").chmod(0o600)
        yield place


@pytest.fixture(scope="session")
def environment(place) -> dict[str, str]:
    """What processes of the command line see: a temporary folder and a token of their own."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**mine, "TMPDIR": str(place), "RAY_AUTH_TOKEN_PATH": str(place / "token")}


@pytest.fixture(scope="session")
def run(place, environment) -> Callable[[str], Run]:
    """A function that returns a run in a new folder."""
    return lambda name: Run(place / name, environment)


@pytest.fixture(scope="session")
def mini(run) -> Run:
    """The uninterrupted run on two workers: what all others must equal."""
    mini = run("mini")
    code, out, err = mini("demo")
    assert code == 0, err
    (mini.folder / "stdout").write_text(out)
    (mini.folder / "stderr").write_text(err)
    return mini


@pytest.fixture(scope="session")
def settings() -> tuple[str, ...]:
    """The miniature's settings, on top of the demo's file."""
    return SETTINGS


@pytest.fixture(scope="session")
def demo() -> Path:
    """The demo's file."""
    return DEMO


@pytest.fixture(scope="session")
def ray_here(place) -> Iterator[None]:
    """A Ray in this process, whose workers find the plug-ins."""
    from rum_ray.cluster.connect import connect

    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(tempfile, "tempdir", str(place))
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(place / "token"))
        for folder in (place / "plugins", Path(__file__).parent):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.syspath_prepend(str(place / "plugins"))
        stack.enter_context(connect("local", workers=2))
        yield
    # Ray leaves its processes to be waited for.
    for process in [thing for thing in gc.get_objects() if type(thing) is subprocess.Popen]:
        process.wait(60)


@pytest.fixture
def study(mini, tmp_path) -> Study:
    """The miniature, with a copy of its store."""
    shutil.copytree(mini.store, tmp_path / "store", ignore=shutil.ignore_patterns("ray"))
    experiment = config.load(DEMO, SETTINGS)
    return Study(experiment, Context(experiment.load_data(), Store(tmp_path / "store")))
