"""Ids of a request to forget are in no label of a metric and in no process list."""

import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from heads import free_port, running_head
from photos import write_photos
from safetensors.torch import save_file

from rum_ray.data import load
from rum_ray.deletion.ledger import Ledger
from rum_ray.seeding import Seed
from rum_ray.training import Recipe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FILE = """
name: photos
data: {name: images, train: photos/train, test: photos/test, size: 8}
recipe: {model: small_cnn, weights: photos.safetensors, epochs: 12, lr: 0.05, batch_size: 32}
plan: {low: nothing, medium: nothing, high: {name: finetune, lr: 0.02, epochs: 40}}
"""


@pytest.fixture
def names(tmp_path) -> list[str]:
    """The listed names; the folder has the photos, a model and an experiment."""
    write_photos(tmp_path / "photos")
    options = {part: str(tmp_path / "photos" / part) for part in ("train", "test")}
    train = load("images", **options, size=8).train
    state = Recipe("small_cnn").build(train, Seed(0)).state_dict()
    weights = {name: value.contiguous() for name, value in state.items()}
    save_file(weights, tmp_path / "photos.safetensors")
    (tmp_path / "photos.yaml").write_text(FILE)
    listed = sorted(train.names.values)[:9]
    (tmp_path / "list.txt").write_text("\n".join(listed) + "\n")
    return listed


def processes() -> set[str]:
    """Return the command lines and the titles of all processes."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found |= {(place / name).read_text("utf-8", "replace") for name in ("cmdline", "comm")}
    return found


def exporter(port: int) -> Callable[[], str]:
    """Return a function that asks Ray for its metrics, in the form of Prometheus."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> str:
        place = f"http://127.0.0.1:{port}/metrics"
        with contextlib.suppress(OSError), direct.open(place, timeout=10) as answer:
            return answer.read().decode()
        return ""

    return ask


def test_metrics_and_process_lists_have_no_ids(place, environment, tmp_path, names):
    port, exported = free_port(), free_port()
    mine = {**environment, "RAY_metrics_report_interval_ms": "1000"}
    options = ["--num-cpus=2", f"--metrics-export-port={exported}"]
    command = [Path(sys.executable).with_name("rum-ray"), "delete", "photos.yaml"]
    command += ["--forget", "list.txt", "--address", f"127.0.0.1:{port}"]
    metrics, seen, ask = set(), set(), exporter(exported)
    with running_head(place / "ids", mine, port, *options):
        with subprocess.Popen(
            command, cwd=tmp_path, env=mine, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as running:
            while running.poll() is None:
                seen |= processes()
                metrics |= {*ask().splitlines()}
                time.sleep(0.1)
            assert running.returncode == 0, running.stderr.read().decode()
        deadline = time.monotonic() + 60
        while not any("rum_ray_jobs_finished" in line for line in metrics):
            assert time.monotonic() < deadline, sorted(metrics)
            metrics |= {*ask().splitlines()}
            time.sleep(0.5)
    # The test has seen the workers and the labels of their jobs.
    assert any("ray::" in each for each in seen)
    assert any('kind="MeasureModel"' in each for each in metrics)
    hashes = Ledger.read(tmp_path / "out" / "photos").forgotten
    assert len(hashes) == len(names)
    for secret in (*names, *(Path(name).name for name in names), *hashes):
        assert not [each for each in (*seen, *metrics) if secret in each], secret
