"""Reports that are written once, and the browser to look at them with."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rum_ray.report.files import write

from .sample import busy_sample, sample

Browse = Callable[..., subprocess.CompletedProcess[str]]

NASTY = [
    "<script>alert(1)</script>",
    '"><img onerror=x>',
    "a|b`c",
    "\x1b[31mred",
    "'--><svg/onload=x>",
]


@pytest.fixture(scope="session")
def grey(tmp_path_factory) -> Path:
    """The folder of a report on grey digits."""
    out = tmp_path_factory.mktemp("grey")
    write(out, *sample())
    return out


@pytest.fixture(scope="session")
def busy(tmp_path_factory) -> Path:
    """The folder of a report with more searches and two plans."""
    out = tmp_path_factory.mktemp("busy")
    write(out, *busy_sample())
    return out


@pytest.fixture(scope="session")
def nasty(tmp_path_factory) -> Path:
    """The folder of a report on coloured digits in which every name is an attack."""
    report, scores, trials, gallery = sample(color=True, classes=NASTY * 2)
    script, image = NASTY[:2]
    report["experiment"]["name"] = script
    report["experiment"]["config"] = f"name: {script}\n# ```\n<b>bold</b>\n"
    report["data"]["name"] = image
    report["environment"]["dashboard"] = "javascript:alert(1)"
    report["environment"]["hardware"] = script
    report["warnings"] = NASTY
    report["searches"][0]["name"] = script
    trials = trials.replace({"search": {"V1": script}})
    for row in report["rows"]:
        if row["unlearner"] == "finetune":
            row["unlearner"] = f"{image}:$x^2$"
    for entries in (report["subsets"], report["rows"][-2]["plan"]):
        for entry in entries:
            entry["name" if "name" in entry else "subset"] = script
    out = tmp_path_factory.mktemp("nasty")
    write(out, report, scores, trials, gallery)
    return out


@pytest.fixture(scope="session")
def browse(tmp_path_factory) -> Browse:
    """A function that opens a page in a headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no chromium here to look at the report with (Debian: apt install chromium)")

    def browse(page: Path, *flags: str, width: int = 1280) -> subprocess.CompletedProcess[str]:
        profile = tmp_path_factory.mktemp("profile")
        fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        fixed += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--hide-scrollbars"]
        fixed += [f"--window-size={width},900", *flags, page.as_uri()]
        command = [program, *fixed]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return browse
