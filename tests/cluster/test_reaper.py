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
from pathlib import Path
from rum_ray.cluster.reaper import Reaper
folder = Path(sys.argv[1])
reaper = Reaper(folder).__enter__()
(folder / "sockets").mkdir(parents=True)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep, env={**os.environ, **reaper.settings}).pid, flush=True)
time.sleep(600)
"""


def sleeping(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A process that is there, and stopped, until somebody kills it."""
    line = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """The folder of the command, which is not there yet, and the one of another command."""
    (tmp_path / "foreign" / "sockets").mkdir(parents=True)
    return tmp_path / "own", tmp_path / "foreign"


def test_only_the_processes_and_the_folder_of_the_command_are_gone_in_the_end(folders):
    own, foreign = folders
    with Reaper(own) as reaper:
        (own / "sockets").mkdir(parents=True)
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


def test_a_killed_command_leaves_no_process_and_no_folder(folders):
    own, foreign = folders
    line = [sys.executable, "-c", COMMAND, str(own)]
    command = subprocess.Popen(line, stdout=subprocess.PIPE)
    with command.stdout as output:
        process = int(output.readline())
    command.kill()
    command.wait()
    deadline = time.monotonic() + 60
    while own.exists() or Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline, "something is left"
        time.sleep(0.05)
    assert foreign.exists()
