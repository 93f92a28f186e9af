"""Lock the image's packages by hash: run `python3.11 deploy/lock.py` after constraints.txt changed.

pip resolves the dependencies of pyproject.toml under constraints.txt, once with the CPU build of
PyTorch and once with the CUDA build. The files are for Linux on x86-64 and Python 3.11.

| file | content |
| :-- | :-- |
| requirements.txt | packages of both builds, and the build backend of rum_ray |
| requirements-cpu.txt | PyTorch without CUDA |
| requirements-cuda.txt | PyTorch with CUDA, and NVIDIA's libraries |

PyTorch's own index has the CPU build. pip downloads wheels whose index offers no metadata.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
HEAD = "# Made by deploy/lock.py from constraints.txt; change that file, not this one.\n"


def constraints() -> dict[str, str]:
    """Return the exact version of each package in constraints.txt, by normalised name."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {_normalised(name): version for name, version in pins}


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def wanted() -> list[str]:
    """Return the direct requirements: of the package with its extra for S3, and of its build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    package, build = project["project"], project["build-system"]["requires"]
    return [*package["dependencies"], *package["optional-dependencies"]["s3"], *build]


def resolve(device: str) -> dict[str, str]:
    """Return the lines "name==version --hash=sha256:..." that pip chooses for a device, by name."""
    torch = constraints()["torch"] + ("+cpu" if device == "cpu" else "")
    extra = ["--extra-index-url", CPU_INDEX] if device == "cpu" else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--report", str(report)]
        # An index that cannot be reached fails at once: pip asks each index for each package.
        command += ["--retries", "0"]
        command += ["-c", str(ROOT / "constraints.txt"), *extra, *wanted()]
        # The arbitrary equality tells one build from the other.
        subprocess.run([*command, f"torch==={torch}"], check=True, stdout=sys.stderr)
        found = json.loads(report.read_text("utf-8"))["install"]
    return {_normalised(item["metadata"]["name"]): _line(item) for item in found}


def _line(item: dict) -> str:
    """Return the pinned requirement of one item of pip's report."""
    source = item["download_info"]
    digest = source["archive_info"].get("hashes", {}).get("sha256")
    if digest is None:
        wheel = Path(unquote(urlsplit(source["url"]).path))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name, version = _normalised(item["metadata"]["name"]), item["metadata"]["version"]
    return f"{name}=={version} --hash=sha256:{digest}"


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.parse_args()
    if sys.version_info[:2] != (3, 11) or sys.platform != "linux":
        sys.exit("deploy/lock.py: Python 3.11 on Linux is needed, as in the image.")
    cpu, cuda = resolve("cpu"), resolve("cuda")
    common = {line for line in cpu.values() if line in cuda.values()}
    index = f"--extra-index-url {CPU_INDEX}\n"
    files = {
        "requirements.txt": (HEAD, common),
        "requirements-cpu.txt": (HEAD + index, {*cpu.values()} - common),
        "requirements-cuda.txt": (HEAD, {*cuda.values()} - common),
    }
    for name, (head, lines) in files.items():
        text = head + "".join(f"{line}\n" for line in sorted(lines))
        (ROOT / "deploy" / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
