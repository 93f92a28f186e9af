"""Reports written once, and a browser to look at them with."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rum_ray.report.files import write

from .shapes import NASTY, busy, gallery, nasty, simple

Browse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def grey_folder(tmp_path_factory) -> Path:
    """The folder of a report on grey digits, without a ladder."""
    out = tmp_path_factory.mktemp("grey")
    write(out, simple(), gallery())
    return out


@pytest.fixture(scope="session")
def busy_folder(tmp_path_factory) -> Path:
    """The folder of a report with all that a study may have."""
    out = tmp_path_factory.mktemp("busy")
    write(out, busy(), gallery())
    return out


@pytest.fixture(scope="session")
def nasty_folder(tmp_path_factory) -> Path:
    """The folder of a report on coloured digits in which every name is an attack."""
    out = tmp_path_factory.mktemp("nasty")
    write(out, nasty(), gallery(color=True, classes=NASTY * 2))
    return out


@pytest.fixture(scope="session")
def browse(tmp_path_factory) -> Browse:
    """A function that opens a page in a headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")

    def browse(page: Path, *flags: str, width: int = 1280) -> subprocess.CompletedProcess[str]:
        profile = tmp_path_factory.mktemp("profile")
        fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        fixed += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--hide-scrollbars"]
        fixed += [f"--window-size={width},900", *flags, page.as_uri()]
        command = [program, *fixed]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return browse
