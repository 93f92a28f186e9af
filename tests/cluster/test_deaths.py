"""The processes of Ray that a command cannot do without die: it goes on, or ends with one line."""

import os
import signal
import time
from pathlib import Path

import pytest
from miniature import FREE, of_science
from soak.driver import alive, is_a

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
LEFT_SECONDS = 30.0


def shared_memory() -> set[Path]:
    """The files of object stores of all Rays on this machine."""
    return {*Path("/dev/shm").glob("plasma*")}


BEFORE = shared_memory()


def kill(place, kind: str) -> None:
    pids = [pid for pid, line in alive(place) if is_a(kind, line)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def left(place) -> list[str]:
    """Processes, shared memory and folders of Ray that are there after half a minute at most."""
    deadline = time.monotonic() + LEFT_SECONDS
    while True:
        found = [line for _, line in alive(place)]
        found += map(str, [*place.glob("rum-ray-*/r*"), *shared_memory() - BEFORE])
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


@pytest.fixture
def gated(run, place, request):
    """A command whose workers wait at a gate, and the gate."""
    gate = place / f"gate-{request.node.callspec.id if hasattr(request.node, 'callspec') else 0}"
    gate.mkdir()
    hurt = run(f"run-{gate.name}", MODEL_GATE=str(gate))
    process = hurt.start("run", "--set", "cluster.workers=2")
    hurt.until(process, lambda: len([*gate.iterdir()]) > FREE)
    return hurt, process, gate


SOAK = pytest.mark.soak
KINDS = ["raylet", pytest.param("GCS", marks=SOAK), pytest.param("queue", marks=SOAK)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_loses_its_ray_ends_with_one_line_and_leaves_no_process(
    mini, gated, place, kind
):
    hurt, process, _ = gated
    before = hurt.artifacts()
    kill(place, kind)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 5, err
    assert err.count("rum-ray:") == 1
    assert err.splitlines()[-1].startswith("rum-ray: ")
    assert left(place) == []
    assert before.items() <= hurt.artifacts().items() <= mini.artifacts().items()


def test_a_killed_driver_leaves_no_process(gated, place):
    _, process, _ = gated
    process.kill()
    process.communicate()
    assert left(place) == []


POINTS = {
    "its folder": lambda place: [*place.glob("rum-ray-*/r*")],
    "its session": lambda place: [*place.glob("rum-ray-*/r*/session_2*")],
    "the head": lambda place: [line for _, line in alive(place) if is_a("GCS", line)],
    "the raylet": lambda place: [line for _, line in alive(place) if is_a("raylet", line)],
    "a worker": lambda place: [line for _, line in alive(place) if "default_worker.py" in line],
}


@pytest.mark.parametrize("point", POINTS)
def test_a_driver_that_is_killed_while_ray_starts_leaves_nothing(run, place, point):
    hurt = run(f"start-{point.split()[-1]}")
    process = hurt.start("run")
    hurt.until(process, lambda: POINTS[point](place))
    process.kill()
    process.communicate()
    assert left(place) == []


@SOAK
def test_a_command_whose_controller_dies_goes_on(mini, gated, place):
    """The room of the dead controller's workers is free again; a trial of Tune needs it."""
    hurt, process, gate = gated
    kill(place, "Train controller")
    deadline = time.monotonic() + 1500
    while process.poll() is None and time.monotonic() < deadline:
        for mark in gate.iterdir():
            mark.unlink()
        time.sleep(0.2)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert hurt.artifacts() == mini.artifacts()
    assert of_science(hurt.report()) == of_science(mini.report())
    assert left(place) == []
