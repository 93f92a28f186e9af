"""Hosts made of Linux namespaces on one machine, with networks, processes and folders of their own.

A host has an address 10.77.0.N on a bridge that nothing outside reaches, its own process ids, its
own /dev/shm, home and Ray folder. Killing its first process is a power cut; taking its link down
is a pulled cable. It needs root, iproute2 and util-linux.
"""

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
HEAD = "10.77.0.11"
SECONDS = 600.0
# Fixed ports: a raylet waits 15 s for the files in which its agents write theirs.
PORTS = {
    "metrics-export-port": 8080,
    "dashboard-agent-grpc-port": 8081,
    "runtime-env-agent-port": 8082,
    "dashboard-agent-listen-port": 52365,
}


def missing() -> str | None:
    """The reason why no hosts can be made here; None if they can."""
    if os.geteuid() != 0:
        return "hosts are made of namespaces, which needs root"
    absent = [tool for tool in ("ip", "unshare", "nsenter", "mount") if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (iproute2, util-linux)"
    probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "this machine makes no namespaces"
    return None


def sh(*command: object, **options: object) -> str:
    """Run a command that must succeed, and return its output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(eq=False)
class Hosts:
    """Hosts on one switch.

    Attributes:
        folder: each host has a sub-folder there; `shared` is seen by all under the same path.
        tag: prefix of the names of the namespaces.
        first: process id of the first process of each host.
    """

    folder: Path
    tag: str = field(default_factory=lambda: f"rr{secrets.token_hex(3)}")
    first: dict[str, int] = field(default_factory=dict)
    _outer: dict[str, subprocess.Popen] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> "Hosts":
        self.shared.mkdir(parents=True)
        self.token = secrets.token_hex(32)
        self._ip("netns", "add", self.switch)
        for words in ("link set lo up", "link add br0 type bridge", "link set br0 up"):
            self._ip("-n", self.switch, *words.split())
        self._ip("-n", self.switch, "addr", "add", "10.77.0.254/24", "dev", "br0")
        return self

    def __exit__(self, *error: object) -> None:
        for name in [*self.first]:
            self.crash(name)
        for line in sh("ip", "netns", "list").splitlines():
            if line.startswith(f"{self.tag}-"):
                self._ip("netns", "del", line.split()[0])

    @property
    def switch(self) -> str:
        return f"{self.tag}-sw"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @staticmethod
    def _ip(*words: object) -> None:
        sh("ip", *words)

    def up(self, name: str, number: int) -> None:
        """Switch a host on."""
        space, link = f"{self.tag}-{name}", f"{self.tag[-4:]}v{number}"
        self._numbers[name] = number
        self._ip("netns", "add", space)
        self._ip(
            "-n", self.switch, *f"link add {link} type veth peer name eth0 netns {space}".split()
        )
        self._ip("-n", self.switch, "link", "set", link, "master", "br0", "up")
        for words in (
            "link set lo up",
            f"addr add 10.77.0.{number}/24 dev eth0",
            "link set eth0 up",
            "route add default via 10.77.0.254",  # so that Ray finds the host's own address
        ):
            self._ip("-n", space, *words.split())
        own = self.folder / name
        token = own / "home" / ".ray" / "auth_token"
        token.parent.mkdir(parents=True)
        token.write_text(self.token)
        token.chmod(0o600)
        for part in ("ray", "store"):
            (own / part).mkdir()
        (own / "hosts").write_text(f"127.0.0.1 localhost\n10.77.0.{number} {name}\n")
        script = (
            f"hostname {name}; mount -t tmpfs -o size=2g none /dev/shm; "
            f"mount --bind {own}/hosts /etc/hosts; exec sleep infinity"
        )
        command = ["ip", "netns", "exec", space, "unshare", "--mount", "--uts", "--pid", "--fork"]
        command += ["--kill-child", "--mount-proc", "bash", "-c", script]
        outer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._outer[name] = outer
        wait(lambda: _sleeper(outer.pid) is not None, 30)
        self.first[name] = _sleeper(outer.pid)

    def crash(self, name: str) -> None:
        """End all processes of a host at once."""
        os.kill(self.first.pop(name), 9)
        self._outer.pop(name).wait(30)

    def cable(self, name: str, state: str) -> None:
        """Take the link of a host "down", or "up" again."""
        link = f"{self.tag[-4:]}v{self._numbers[name]}"
        self._ip("-n", self.switch, "link", "set", link, state)

    def start(
        self, name: str, *command: object, out: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen:
        """Start a command on a host; its output goes to files beside `out`."""
        own = self.folder / name
        base = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        base |= {"HOME": str(own / "home"), "TMPDIR": str(own), "RAY_AUTH_MODE": "token"}
        base |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **(env or {})}
        enter = ["nsenter", "-t", str(self.first[name]), "--mount", "--uts", "--net", "--pid", "--"]
        with out.with_suffix(".out").open("w") as stdout, out.with_suffix(".err").open("w") as err:
            return subprocess.Popen(
                [*enter, *map(str, command)],
                env=base,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=err,
            )

    def ray(self, name: str, head: bool = False, cpus: int = 1, gpus: int = 0) -> None:
        """Start Ray on a host; on a busy machine the first attempt may fail."""
        words = ["--head", "--port=6379", "--dashboard-host=127.0.0.1"] if head else []
        words += [] if head else [f"--address={HEAD}:6379"]
        words += [f"--{port}={number}" for port, number in PORTS.items()]
        words += [f"--temp-dir={self.folder / name / 'ray'}"] if head else []
        words += [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--object-store-memory=150000000"]
        for attempt in range(4):
            out = self.folder / f"ray-{name}-{attempt}"
            if self.start(name, BIN / "ray", "start", *words, out=out).wait(SECONDS) == 0:
                return
            self.start(name, BIN / "ray", "stop", "--force", out=out.with_name("stop")).wait(60)
        raise AssertionError(
            out.with_suffix(".out").read_text() + out.with_suffix(".err").read_text()
        )

    def cluster(self, *names: str, gpus: int = 0) -> None:
        """Start hosts with one CPU each, and Ray on all of them; the first is the head."""
        for number, name in enumerate(names):
            self.up(name, 11 + number)
            self.ray(name, head=number == 0, gpus=gpus)


def _sleeper(outer: int) -> int | None:
    """The first process of a host, once it has set everything up."""
    with contextlib.suppress(OSError, ValueError):
        inner = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
        if Path(f"/proc/{inner}/comm").read_text() == "sleep\n":
            return inner
    return None


def wait(ready: Callable[[], bool], seconds: float = SECONDS) -> float:
    """Wait until something is so, and return the seconds that it took."""
    start = time.monotonic()
    while not ready():
        assert time.monotonic() - start < seconds, "it took too long"
        time.sleep(0.1)
    return time.monotonic() - start


@dataclass(eq=False)
class Command:
    """A command of rum-ray on a host, with its own store and output below `shared`.

    Attributes:
        hosts: the hosts.
        name: name of its folder.
        process: the process, once it is started.
    """

    hosts: Hosts
    name: str
    process: subprocess.Popen | None = None

    @property
    def folder(self) -> Path:
        return self.hosts.shared / self.name

    def start(
        self, host: str, verb: str, file: Path, *words: object, address: str = "auto"
    ) -> None:
        """Start the command."""
        self.folder.mkdir(exist_ok=True)
        self.process = self.hosts.start(
            host,
            *(sys.executable, "-m", "rum_ray", verb, file, "--address", address),
            *("--store", self.folder / "store", "--out", self.folder / "out", *words),
            out=self.folder / "log",
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and standard error."""
        return self.process.wait(SECONDS), self.folder.joinpath("log.err").read_text()

    def lines(self) -> list[dict[str, object]]:
        """The lines of progress.jsonl so far."""
        path = self.folder / "out" / "progress.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def until(self, stage: str, done: int) -> None:
        """Wait until so many jobs of a stage are done."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(self.end()[1])
            return any(
                line.get("stage") == stage and line.get("done", 0) >= done for line in self.lines()
            )

        wait(ready)

    def silence(self, stage: str) -> float:
        """The longest time of a stage in which no job was done, in seconds."""
        done = [
            (line["time"], line["done"])
            for line in self.lines()
            if line.get("stage") == stage and "done" in line
        ]
        news = [
            when for (when, now), (_, before) in zip(done[1:], done, strict=False) if now > before
        ]
        return max((b - a for a, b in itertools.pairwise(news)), default=0.0)

    def artifacts(self) -> dict[str, bytes]:
        """The content of every artifact, by its path in the store."""
        root = self.folder / "store"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.safetensors")}

    def made_by(self) -> dict[str, int]:
        """The number of artifacts that each host made."""
        found: dict[str, int] = {}
        for path in (self.folder / "store").glob("*/*.json"):
            for host in re.findall(r'"host": "(.*?)"', path.read_text()):
                found[host] = found.get(host, 0) + 1
        return found


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s", file=sys.stderr)
