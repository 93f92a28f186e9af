"""Join a Ray cluster, or start one on this machine."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import ray
from ray.job_config import JobConfig

from rum_ray.errors import ConfigError, RumRayError, StalledError
from rum_ray.study.executor import check_address
from rum_ray.study.worker_pool import WORKER_SETTINGS

REACH_SECONDS = 20.0
STARTS = 3
"""Attempts to start a Ray on this machine; on a busy one, Ray's own patience may not suffice."""
QUIET = {"enable_metrics_collection": False, "task_events_report_interval_ms": 0}
"""Settings of a Ray that nobody watches: without them it spends a tenth of a core on reports."""
Say: TypeAlias = Callable[[str], None]
"""Receives a line about the cluster, for the terminal and the journal."""


@contextlib.contextmanager
def connect(
    address: str = "local",
    workers: int = 2,
    dashboard: bool = False,
    modules: Sequence[str] = (),
    say: Say = lambda line: None,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[bool]:
    """Join the cluster at `address` for the length of a `with` block.

    If this process has joined a cluster already, that one is used and left running.

    Args:
        address: "local" starts a cluster on this machine; "auto" and HOST:PORT join a running one.
        workers: processes that a local cluster has room for.
        dashboard: True starts the dashboard of a local cluster.
        modules: folders of Python modules that are shipped to the workers.
        say: receives where the dashboard is, and why a start is repeated.
        metadata: what Ray tells about this command; the dashboard shows "job_name" of it.

    Yields:
        True if this call started the cluster.

    Raises:
        StalledError: no cluster runs at that address, or none could be started.
        ConfigError: the folder of a module does not exist or cannot be shipped any more, or the
            address is malformed.
    """
    local = address == "local"
    environment = _environment(modules, local)
    if ray.is_initialized():
        if modules:
            raise ConfigError(
                "cluster.modules: this process has joined a Ray cluster already, and modules are "
                "shipped on joining. Call ray.shutdown() first."
            )
        yield False
        return
    with inherited(WORKER_SETTINGS if local else {}):
        options = _local(workers, dashboard) if local else {}
        options |= {"job_config": JobConfig(metadata=dict(metadata or {}))}
        url = _init(address, environment, options, say)
    if url and (dashboard or not local):
        say(f"Ray dashboard: http://{url} (Jobs, Actors, Cluster and Metrics)")
    try:
        yield local
    finally:
        ray.shutdown()


def _init(
    address: str, environment: Mapping[str, Any], options: Mapping[str, Any], say: Say
) -> str | None:
    """Start or join a cluster; return the host and port of its dashboard, if there is one."""
    _authenticate(address == "local")
    logging.getLogger("ray").setLevel(logging.ERROR)
    handler = signal.getsignal(signal.SIGTERM)
    starts = STARTS if address == "local" else 1
    for start in range(1, starts + 1):
        try:
            _reach(address)
            context = ray.init(
                address=address,
                runtime_env=dict(environment),
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
            break
        except RumRayError:
            raise
        except Exception as error:
            # Ray raises a bare Exception if it does not start in time.
            reason = str(error).partition("\n")[0].rstrip(".")
            if start == starts:
                raise _unreachable(address, reason) from error
            say(f"Ray did not start: {reason}; trying again ({start + 1} of {starts})")
            ray.shutdown()
    if threading.current_thread() is threading.main_thread():
        # Ray installs a handler of its own.
        signal.signal(signal.SIGTERM, handler)
    url: str | None = context.dashboard_url
    return url


def _unreachable(address: str, reason: str) -> StalledError:
    """Return the error that no cluster is at an address, with advice."""
    if address == "local":
        return StalledError(
            f"Ray did not start on this machine in {STARTS} attempts: {reason}. Try again when it "
            "is less busy, or leave Ray out with --address none."
        )
    return StalledError(
        f"no Ray cluster at {address}: {reason}. Start one with 'ray start --head', or leave "
        "--address out to use this machine."
    )


def _environment(modules: Sequence[str], local: bool) -> dict[str, Any]:
    """Return the runtime environment of the worker processes.

    On this machine they inherit the settings instead: without a runtime environment, Ray can use
    processes that it started in advance.
    """
    for module in modules:
        if not Path(module).is_dir():
            raise ConfigError(f"cluster.modules: {module} is not a folder.")
    shipped = [str(Path(module).absolute()) for module in modules]
    settings = {} if local else {"env_vars": WORKER_SETTINGS}
    return {**settings, **({"py_modules": shipped} if shipped else {})}


@contextlib.contextmanager
def inherited(settings: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started within a `with` block."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _local(workers: int, dashboard: bool) -> dict[str, Any]:
    """Return the options of a cluster on this machine.

    The number of CPUs follows from the processes that run at once, not from the cores: the workers
    of a stage, and one more for trials or embedding actors of the driver.
    """
    return {
        "num_cpus": max(workers + 1, 3),
        "include_dashboard": dashboard,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": 256 * 2**20,
        "_temp_dir": str(Path(tempfile.gettempdir()) / f"rum-ray-{os.getuid()}"),
        "_system_config": {} if dashboard else {**QUIET},
    }


def _reach(address: str) -> None:
    """Raise OSError unless HOST:PORT accepts connections; Ray itself would wait for minutes."""
    if address in ("local", "auto"):
        return
    check_address(address)
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()


def _authenticate(local: bool) -> None:
    """Write the token of a local cluster, if none exists, to a file that only this user reads."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not local or os.environ.get("RAY_AUTH_MODE") != "token" or "RAY_AUTH_TOKEN" in os.environ:
        return
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
