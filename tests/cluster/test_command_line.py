"""The command line on a real Ray: the same bits as without Ray, whatever is killed."""

import json
import os
import re
import signal
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from heads import free_port, running_head
from miniature import FREE, flags, of_science

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

INTERRUPTED = "rum-ray: interrupted; the same command goes on from here.\n"


@pytest.fixture
def interruptible():
    """Processes that this one starts do not ignore SIGINT, as those of a background job do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_killed_and_an_interrupted_driver_resume(mini, run, place):
    """The model of the plug-in waits at a gate, so each driver ends in the middle of a stage."""

    def until_gate(name: str):
        gate = place / name
        gate.mkdir()
        hurt = run("hurt", MODEL_GATE=str(gate))
        process = hurt.start("score")
        hurt.until(process, lambda: len([*gate.iterdir()]) > FREE)
        return hurt, process

    hurt, process = until_gate("first")
    process.kill()
    process.communicate()
    killed = hurt.artifacts()
    assert 0 < len(killed) < 23

    hurt, process = until_gate("second")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (75, ""), err
    assert err.count("rum-ray:") == 1
    assert err.endswith(INTERRUPTED)
    assert "Traceback" not in err
    interrupted = hurt.artifacts()
    assert len(killed) < len(interrupted) < 23

    hurt = run("hurt")
    # The rest is computed without Ray, from the same store.
    code, _, err = hurt("score", "--address", "none")
    assert code == 0, err
    assert re.search(rf"^train .* 23 done, {len(interrupted)} reused$", err, re.M)
    assert not list(hurt.store.glob("quarantine/*"))
    assert killed.items() < interrupted.items() < hurt.artifacts().items()
    assert len(hurt.artifacts()) == 23
    assert hurt.artifacts().items() < mini.artifacts().items()


@pytest.fixture
def head(place, environment):
    """A cluster beside this process; its address and its dashboard's."""
    port, dashboard = free_port(), free_port()
    # Its workers get the plug-ins shipped.
    bare = {**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    options = ["--num-cpus=3", "--include-dashboard=true", f"--dashboard-port={dashboard}"]
    with running_head(place / "head", bare, port, *options):
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"


def check_names(dashboard: str, token: str, logs: Path) -> None:
    """Check the names of the command and its actors, dead ones included.

    The dashboard shows them, and the files of its page Logs.
    """

    def ask(path: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{dashboard}/api/{path}", headers=headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(10):
            # A busy dashboard answers with an error.
            try:
                with direct.open(request, timeout=60) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError:
                time.sleep(3)
        raise AssertionError(f"the dashboard does not answer {path}")

    (job,) = json.loads(ask("jobs/"))
    assert job["metadata"]["experiment"] == "digits"
    assert job["metadata"]["job_name"] == f"digits-{job['metadata']['run']}"
    actors = json.loads(ask("v0/actors?detail=1&limit=1000"))["data"]["result"]["result"]
    assert [re.sub("-[0-9a-f]{6}$", "", a["name"]) for a in actors].count("digits-queue") == 1
    names = {actor["repr_name"] for actor in actors}
    assert {"digits-search", "MapWorker(MapBatches(digits-embeddings))"} <= names
    # Train gives its workers no names, so the first line of their logs does.
    pattern = re.compile(r"^worker (\d) of digits-shard1-[0-9a-f]{6}$", re.MULTILINE)
    found = [pattern.search(path.read_text()) for path in logs.glob("worker-*.out")]
    assert sorted(match[1] for match in found if match) == ["0", "1"]


def test_a_running_cluster_with_shipped_modules_makes_the_same_bits(mini, run, place, head):
    address, dashboard = head
    there, plugins = run("there"), place / "plugins"
    modules = f"cluster.modules=[{plugins / 'shipped'}, {plugins / 'gated'}]"
    settings = flags(modules, "cluster.workers=2")
    code, out, err = there("run", "--address", address, *settings)
    assert code == 0, err
    assert "report: out/digits/report.html" in out
    stages = re.findall(r"^(\S.*?) +[\d.]+ s  \d+ done$", err, re.MULTILINE)
    assert stages == ["train", "embed", "retrain", "ranges", "search", "validate", "rows"]
    assert there.artifacts() == mini.artifacts()
    assert of_science(there.report()) == of_science(mini.report())
    for name in ("scores", "trials"):
        pd.testing.assert_frame_equal(there.table(name), mini.table(name), check_exact=True)

    assert f"Ray dashboard: {dashboard} (" in err
    logs = place / "head" / "session_latest" / "logs"
    check_names(dashboard, (place / "token").read_text(), logs)
