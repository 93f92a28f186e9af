"""`ray job submit`: message and exit code of the command in the job's status."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
WRONG = """
name: wrong
data: {name: nobody}
recipe: {model: mlp}
forget: {size: 60}
"""


@pytest.fixture(scope="module")
def cluster(ports):
    """A Ray of this test's own, with a dashboard; yields its URL, environment and folder."""
    folder = Path(tempfile.mkdtemp(prefix="rs-"))
    gcs, dashboard, client, agent = ports(4)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "PYTHONPATH": str(ROOT),
    }
    options = [f"--port={gcs}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    options += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    options += [f"--temp-dir={folder}/r", "--num-cpus=2", f"--object-store-memory={100 * 2**20}"]
    url = f"http://127.0.0.1:{dashboard}"
    header = {"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
    try:
        # Ray does not start in time on a busy machine.
        for _ in range(3):
            with (folder / "log").open("w") as log:
                ray = subprocess.Popen(
                    [*RAY, "start", "--head", "--block", *options],
                    env=environment, stdout=log, stderr=log,
                )  # fmt: skip
            if answers(ray, f"{url}/api/version", header):
                break
        else:
            pytest.skip(f"Ray did not start on this machine: {(folder / 'log').read_text()}")
        yield url, environment, folder
    finally:
        ray.terminate()
        ray.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def answers(process, url: str, header: dict[str, str]) -> bool:
    """Return True once the URL answers; False if the process ends, or after a minute and a half."""
    for _ in range(180):
        if process.poll() is not None:
            return False
        try:
            if requests.get(url, headers=header, timeout=5).ok:
                return True
        except requests.RequestException:
            pass
        time.sleep(0.5)
    process.terminate()
    process.wait(60)
    return False


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_status_of_a_job_has_our_message_and_exit_code(cluster):
    url, environment, folder = cluster
    file = folder / "wrong.yaml"
    file.write_text(WRONG, "utf-8")

    def ray(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*RAY, "job", arguments[0], "--address", url, *arguments[1:]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    entry = [sys.executable, "-m", "rum_ray", "score", str(file), "--address", "auto"]
    submitted = ray("submit", "--submission-id", "wrong", "--", *entry)
    assert submitted.returncode == 1
    line = "rum-ray: data: unknown data set 'nobody'"
    status = ray("status", "wrong")
    for text in (submitted.stdout + submitted.stderr, status.stdout + status.stderr):
        assert "failed with exit code 2" in text
        assert line in text
    header = {"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
    assert requests.get(f"{url}/api/jobs/wrong", headers=header).json()["driver_exit_code"] == 2
    assert requests.get(f"{url}/api/jobs/wrong").status_code == 401
