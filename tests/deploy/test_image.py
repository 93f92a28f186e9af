"""The image: its lock files, its lint, and its steps, run in a clean folder without Docker."""

import fnmatch
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DEVICES = ("cpu", "cuda")
IGNORED = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
STEPS = re.findall(
    r"^([A-Z]+) (.*)$",
    (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " "),
    re.M,
)
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M
    )
}


def locked(*names: str) -> dict[str, str]:
    """Return the versions in lock files, by name; each line has a hash."""
    found = {}
    for name in names:
        for line in (DEPLOY / name).read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "--")):
                pin = re.fullmatch(r"([\w-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line)
                assert pin, line
                assert pin[1] not in found
                found[pin[1]] = pin[2]
    return found


def lock_of(device: str) -> dict[str, str]:
    return locked("requirements.txt", f"requirements-{device}.txt")


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("device", DEVICES)
def test_locked_versions_are_those_of_the_constraints(device):
    lock = lock_of(device)
    assert {n: v.partition("+")[0] for n, v in lock.items() if n in PINS} == {
        name: PINS[name] for name in lock if name in PINS
    }
    assert lock["torch"].endswith("+cpu") == (device == "cpu")


def test_only_pytorch_differs_by_device():
    cpu, cuda = locked("requirements-cpu.txt"), locked("requirements-cuda.txt")
    assert set(cpu) == {"torch"}
    assert set(cpu) < set(cuda)
    assert all(re.match("torch|triton|nvidia-|cuda-", name) for name in cuda)


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_is_missing_from_the_lock(device):
    """Each locked package that is installed here has all of its requirements in the lock."""
    lock = lock_of(device)
    parsed = project()
    direct = [*parsed["project"]["dependencies"], *parsed["build-system"]["requires"]]
    for text in direct:
        requirement = Requirement(text)
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)])
    extras = {canonicalize_name(r.name): r.extras for r in map(Requirement, direct)}
    for name in lock:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, needed):
            for extra in ("", *extras.get(name, ())):
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    assert canonicalize_name(requirement.name) in lock, f"{name}: {requirement}"


def test_the_linter_accepts_the_dockerfile(program):
    subprocess.run([program("hadolint"), str(DEPLOY / "Dockerfile")], check=True)


def test_the_image_runs_as_a_user_without_rights():
    assert [text for step, text in STEPS if step == "USER"] == ["1000:1000"]
    after = [step for step, _ in STEPS][[step for step, _ in STEPS].index("USER") :]
    assert "RUN" not in after
    assert "COPY" not in after


def sent(path: str) -> bool:
    """Return True if .dockerignore lets a file of the repository into the build."""
    parts = Path(path).parts
    result = True
    for line in IGNORED:
        if not line or line.startswith("#"):
            continue
        keep, pattern = line.startswith("!"), line.removeprefix("!").removeprefix("**/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        hits = parts if line.startswith("**/") else above
        if any(fnmatch.fnmatchcase(hit, pattern) for hit in hits):
            result = keep
    return result


def test_the_build_is_sent_the_package_and_no_more(tmp_path):
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    files = {path for path in listed if sent(path)}
    assert {path.partition("/")[0] for path in files} == {
        "deploy", "rum_ray", "pyproject.toml", "README.md", "LICENSE",
    }  # fmt: skip
    assert {path for path in listed if path.startswith("rum_ray/")} <= files
    assert not sent("rum_ray/cli/__pycache__/app.pyc")
    assert not sent(".git/config")
    assert not sent("store/any")


def copy(sources: list[str], target: Path) -> None:
    """Do what COPY does."""
    for source in sources:
        found = [path for path in ROOT.glob(source) if sent(path.relative_to(ROOT).as_posix())]
        assert found, source
        for path in found:
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, target, ignore=ignored, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux",
    reason="the image is for Python 3.11 on Linux",
)
def test_the_steps_run_in_a_clean_folder(tmp_path):
    """COPY and RUN, with another root; a virtual environment stands for the image's Python.

    The packages of this Python count as installed if their versions are the locked ones.
    """
    venv.create(tmp_path / "python")
    (site,) = (tmp_path / "python" / "lib").glob("*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "here.pth").write_text("\n".join(here), "utf-8")
    pip = tmp_path / "python" / "bin" / "pip"
    pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n', "utf-8")
    pip.chmod(0o755)
    path = f"{tmp_path}/python/bin:{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PATH": path}
    environment |= {"DEVICE": "cpu", "PIP_RETRIES": "0", "PYTHONNOUSERSITE": "1"}
    done = []
    for step, text in STEPS:
        moved = re.sub(r"(?<!\S|\")/build|(?<=\")/build", f"{tmp_path}/build", text)
        if step == "COPY":
            *sources, target = moved.split()
            copy(sources, Path(target))
        elif step == "RUN" and not moved.startswith("useradd"):
            result = subprocess.run(
                ["/bin/sh", "-ec", moved],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
            )
            if "Could not find a version" in result.stderr + result.stdout:
                pytest.skip(f"no package index can be reached: {result.stderr[-300:]}")
            assert result.returncode == 0, result.stderr
            done.append(result.stdout)
    assert len(done) == 2
    assert done[-1].strip().endswith(project()["project"]["version"])
    shown = subprocess.run(
        ["python", "-c", "import rum_ray; print(rum_ray.__file__)"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout.startswith(str(tmp_path))
