"""Reports written once, and a browser to look at them with."""

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from rum_ray.report.blocks import Section
from rum_ray.report.files import write
from rum_ray.report.gallery import Gallery
from rum_ray.report.render import html, markdown
from rum_ray.report.sections import headline, result, scores, sections

from .shapes import NASTY, SHAPES, gallery, nasty, simple

Browse = Callable[..., subprocess.CompletedProcess[str]]


OF_SCORES = {"few scores", "file scores", "no proxies", "no scores", "one subset"}


@cache
def built(shape: str) -> tuple[Section, ...]:
    """The sections of a report of a shape; only those that differ from the demo's in scores."""
    report, pictures = SHAPES[shape](), gallery() if shape == "busy" else Gallery()
    if shape in OF_SCORES:
        return tuple(part.section(report, pictures) for part in (headline, result, scores))
    return sections(report, pictures)


@pytest.fixture(scope="session")
def grey_folder(tmp_path_factory) -> Path:
    """The folder of a report on grey digits, without a ladder."""
    out = tmp_path_factory.mktemp("grey")
    write(out, simple(), gallery())
    return out


@pytest.fixture(scope="session")
def busy_folder(tmp_path_factory) -> Path:
    """The page and its Markdown of a study with every part."""
    out = tmp_path_factory.mktemp("busy")
    (out / "report.html").write_text(html.render(built("busy")), "utf-8")
    (out / "report.md").write_text(markdown.render(built("busy")), "utf-8")
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
