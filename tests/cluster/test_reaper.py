"""The reaper ends the processes of a command's Ray, and those of nobody else."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rum_ray.cluster.reaper import MARK, Reaper

COMMAND = """
import os, subprocess, sys, time
from rum_ray.cluster.reaper import Reaper
reaper = Reaper().__enter__()
reaper.take(sys.argv[1])
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep, env={**os.environ, **reaper.settings}).pid, flush=True)
time.sleep(600)
"""


def sleeping(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[bytes]":
    """A process that is there, and stopped, until somebody kills it."""
    line = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)", *arguments]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.fixture
def sessions(tmp_path) -> tuple[Path, Path]:
    """The session folder of the command, and one of another command."""
    for name in ("session_1", "session_2"):
        (tmp_path / name / "sockets").mkdir(parents=True)
    return tmp_path / "session_1", tmp_path / "session_2"


def test_only_the_processes_and_the_folder_of_the_command_are_gone_in_the_end(sessions):
    own, foreign = sessions
    with Reaper() as reaper:
        reaper.take(str(own))
        ours = sleeping(dict(reaper.settings))
        others = [sleeping({}), sleeping({MARK: "of another command"})]
        assert ours.poll() is None
    try:
        assert ours.wait(10) == -signal.SIGKILL
        assert [other.poll() for other in others] == [None, None]
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert not own.exists()
    assert foreign.exists()


def test_a_killed_command_leaves_no_process_and_no_folder(sessions):
    line = [sys.executable, "-c", COMMAND, str(sessions[0])]
    command = subprocess.Popen(line, stdout=subprocess.PIPE)
    with command.stdout as output:
        process = int(output.readline())
    command.kill()
    command.wait()
    deadline = time.monotonic() + 60
    while sessions[0].exists() or Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline, "something is left"
        time.sleep(0.05)
    assert sessions[1].exists()


def test_the_folder_of_a_start_that_was_interrupted_is_known_from_its_processes(sessions):
    own, foreign = sessions
    with Reaper() as reaper:
        ours = sleeping(dict(reaper.settings), f"--log_dir={own}/logs")
        other = sleeping({}, f"--log_dir={foreign}/logs")
    try:
        assert ours.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert not own.exists()
    assert foreign.exists()
