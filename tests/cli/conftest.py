"""The command line in this process, and one run of the miniature without Ray."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from miniature import Run, write_plugins

from rum_ray.cli import app

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path, monkeypatch, capfd) -> Iterator[Call]:
    """A function that runs the command line in this process, in an empty folder, without Ray."""
    # Loaded lazily by the command line; here, so that no test pays for it.
    import ray

    import rum_ray.cli.commands  # noqa: F401

    def leave(code: int) -> None:
        raise SystemExit(code)

    def init(**options: object) -> None:
        pytest.fail("Ray was started")

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rum-ray", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main()
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """A folder of plug-ins."""
    return write_plugins(tmp_path_factory.mktemp("plug") / "ins")


@pytest.fixture(scope="session")
def mini(tmp_path_factory) -> Run:
    """The miniature, run without Ray in one process of its own."""
    mini = Run(tmp_path_factory.mktemp("mini") / "run", os.environ)
    code, out, err = mini("demo", "--address", "none", "--set", "cluster.workers=1")
    assert code == 0, err
    (mini.folder / "stdout").write_text(out)
    (mini.folder / "stderr").write_text(err)
    return mini


@pytest.fixture
def copy(mini, tmp_path) -> Run:
    """The miniature's folder without its report; only the store is there, as a copy."""
    shutil.copytree(mini.store, tmp_path / "store")
    return Run(tmp_path, mini.environment)
