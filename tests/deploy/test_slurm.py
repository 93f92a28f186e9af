"""The Slurm script on a real Slurm: two nodes on this machine, a signal, and a requeue."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "slurm.sbatch"
EXPERIMENT = """
name: tiny
data: {name: digits}
recipe: {model: mlp, epochs: 2}
score: {name: memorization, models: 16, recipe: {model: mlp, epochs: 20}}
forget: {size: 60}
cluster: {workers: 2}
"""
MUNGE = ("socket", "key-file", "log-file", "pid-file", "seed-file")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/%n
SlurmctldPidFile={home}/controller.pid
SlurmdPidFile={home}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2
PartitionName=all Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
"""


def test_the_script_is_clean(program):
    subprocess.run([program("shellcheck"), str(SCRIPT)], check=True)


def until(found, seconds: float, message: str):
    """Return the first true value of a function; fail after a time without one."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, message
        time.sleep(0.2)
    return value


@pytest.fixture
def installed():
    if os.geteuid() != 0:
        pytest.skip("a Slurm of this test's own needs root")
    if missing := [p for p in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(p)]:
        pytest.skip(f"Slurm is not installed (Debian: slurm-wlm, munge): no {', '.join(missing)}")


@pytest.fixture
def environment(tmp_path, ports):
    """The files of a Slurm of two nodes, and the variables of its programs."""
    home = tmp_path / "slurm"
    for folder in ("state", "n0", "n1"):
        (home / folder).mkdir(parents=True)
    (home / "munge.key").write_bytes(os.urandom(1024))
    (home / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    text = CONF.format(host=host, home=home, ports=ports(3))
    (home / "slurm.conf").write_text(text, "utf-8")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, code in {"rum-ray": "-m rum_ray", "ray": "-m ray.scripts.scripts"}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {code} "$@"\n', "utf-8")
        (tools / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
    path = f"{tools}:{os.environ['PATH']}"
    return {**kept, "SLURM_CONF": f"{home}/slurm.conf", "PATH": path, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path):
    """Run a daemon for the length of a `with` block."""
    with log.open("w") as file:
        daemon = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@pytest.fixture
def slurm(installed, environment):
    """A Slurm of two nodes; yields a function that runs one of its commands."""
    conf = environment["SLURM_CONF"]
    home = Path(conf).parent

    def call(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    with contextlib.ExitStack() as daemons:

        def start(name: str, *command: str) -> None:
            daemons.enter_context(running([*command], environment, home / f"{name}.log"))

        files = [f"--{n}={home}/munge.{n.removesuffix('-file')}" for n in MUNGE]
        start("munged", "munged", "--foreground", "--force", *files)
        until((home / "munge.socket").exists, 30, "munged made no socket")
        start("controller", "slurmctld", "-D", "-f", conf)
        for node in ("n0", "n1"):
            start(node, "slurmd", "-D", "-f", conf, "-N", node)
        until(lambda: call("sinfo", "-h", "-t", "idle", "-o", "%D") == "2", 60, "no idle nodes")
        yield call
        call("scancel", "--user=root")
        until(lambda: not call("squeue", "-h"), 60, "a job stayed")


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_signal_requeues_the_job_and_finished_models_are_kept(slurm, tmp_path):
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, "utf-8")
    store, out, log = (tmp_path / name for name in ("store", "out", "job.log"))
    command = ["sbatch", "--parsable", "--cpus-per-task=1", "--time=30", f"--output={log}"]
    command += [str(SCRIPT), "score", str(tmp_path / "tiny.yaml")]
    job = slurm(*command, "--store", str(store), "--out", str(out))

    def state(field: str) -> str:
        fields = slurm("scontrol", "show", "job", job).split()
        return dict(f.partition("=")[::2] for f in fields).get(field, "")

    def text() -> str:
        return log.read_text("utf-8") if log.exists() else "no log"

    def models() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")}

    try:
        until(models, 400, "no model was trained")
        slurm("scancel", "--batch", "--signal=USR1", job)
        until(lambda: state("Restarts") == "1", 120, "the job was not requeued")
        kept = models()
        assert "the job is requeued" in text()
        assert len(kept) < 17
        ended = ("COMPLETED", "FAILED", "CANCELLED")
        until(lambda: state("JobState") in ended, 400, "the job did not end")
    finally:
        print(text())
        for path in Path(f"/tmp/rum-ray-{os.getuid()}").glob(f"{job}*"):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
    assert (state("JobState"), state("ExitCode")) == ("COMPLETED", "0:0")
    assert (out / "scores.parquet").exists()
    assert kept.items() <= models().items()
    assert len(models()) == 17
    assert json.loads((out / "progress.jsonl").read_text("utf-8").splitlines()[-1])["done"] == 17
