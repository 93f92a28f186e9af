"""The wheel: every file of the package is in it, and works from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
USE = """
from pathlib import Path

import rum_ray
from rum_ray import config
from rum_ray.paper.catalogue import PRESETS, catalogue, studies
from rum_ray.search.auto import auto_plan

folder = Path(rum_ray.__file__).parent
assert folder == Path.cwd() / "site" / "rum_ray", folder
assert config.load(folder / "demo.yaml").name
for preset in PRESETS:
    for name in catalogue().items:
        assert all(study.experiment().name for study in studies(name, "cifar10", preset))
assert auto_plan(config.load(folder / "demo.yaml").recipe)
"""
"""A program that reads the data files of an installed package."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "rum_ray").rglob("*") if path.is_file())
    own = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert packed == own


def test_no_file_of_the_package_is_a_link():
    """A link would point to nothing where the wheel is installed."""
    assert not [path for path in (ROOT / "rum_ray").rglob("*") if path.is_symlink()]


def test_an_installed_wheel_finds_its_files(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": "site", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", USE)
    assert "table1" in run("-m", "rum_ray", "reproduce", "--help")
