"""One Ray in this process, and the store and report of a run without Ray."""

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from miniature import DEMO, SETTINGS, Run, write_plugins

from rum_ray import config
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.study import Study

# The model waits at a gate if a test names one.
GATED = (
    *SETTINGS,
    "data.name='shipped:digits'",
    "score.recipe.model='gated:mlp'",
    "recipe.model='gated:mlp'",
    "search.spaces=[V4]",
    "cluster.workers=1",
)


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder with a path that is short enough for Ray's sockets, and the plug-ins in it."""
    with tempfile.TemporaryDirectory(prefix="rum", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        write_plugins(place / "plugins")
        (place / "token").write_text("a" * 64)
        (place / "token").chmod(0o600)
        yield place


@pytest.fixture(scope="session")
def environment(place) -> dict[str, str]:
    """Environment of the command line: the plug-ins, a temporary folder and a token of its own."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join([str(place / "plugins"), *filter(None, [mine.get("PYTHONPATH")])])
    token = str(place / "token")
    return {**mine, "PYTHONPATH": path, "TMPDIR": str(place), "RAY_AUTH_TOKEN_PATH": token}


@pytest.fixture(scope="session")
def run(place, environment) -> Callable[..., Run]:
    """A function that returns a run in a new folder, with more environment variables."""
    return lambda name, **more: Run(place / name, {**environment, **more}, GATED)


@pytest.fixture(scope="session")
def mini(run) -> Run:
    """The miniature without Ray, in one process: every other run equals it."""
    mini = run("mini")
    code, _, err = mini("run", "--address", "none")
    assert code == 0, err
    return mini


@pytest.fixture(scope="module")
def ray_here(place) -> Iterator[None]:
    """A Ray in this process, whose workers find the plug-ins and the jobs of these tests."""
    from rum_ray.cluster.connect import connect

    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(tempfile, "tempdir", str(place))
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(place / "token"))
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        (place / "footprints").mkdir(exist_ok=True)
        patch.setenv("RUM_RAY_FOOTPRINTS", str(place / "footprints"))
        for folder in (place / "plugins", Path(__file__).parent):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
            patch.syspath_prepend(str(folder))
        stack.enter_context(connect("local", workers=2))
        yield
    # Ray leaves its processes to be waited for.
    for process in [thing for thing in gc.get_objects() if type(thing) is subprocess.Popen]:
        process.wait(60)


@pytest.fixture
def study(mini, ray_here, tmp_path) -> Study:
    """The miniature, with a copy of its store."""
    shutil.copytree(mini.store, tmp_path / "store")
    experiment = config.load(DEMO, GATED)
    return Study(experiment, Context(experiment.load_data(), Store(tmp_path / "store")))
