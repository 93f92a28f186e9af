"""Join a Ray cluster, or start one on this machine."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_ray_address_file
from ray._private import services
from ray.job_config import JobConfig

from rum_ray.cluster import access
from rum_ray.cluster.executor import to_stderr
from rum_ray.cluster.reaper import Reaper
from rum_ray.cluster.watch import Say, watched
from rum_ray.errors import ConfigError, StalledError
from rum_ray.study.executor import check_address
from rum_ray.study.worker_pool import WORKER_SETTINGS
from rum_ray.training.runtime import most_here

REACH_SECONDS = 20.0
STARTS = 3
"""Attempts to start a Ray on this machine; on a busy one, Ray's own patience may not suffice."""
QUIET = {"enable_metrics_collection": False, "task_events_report_interval_ms": 0}
"""Settings of a Ray that nobody watches: without them it spends a tenth of a core on reports."""


@contextlib.contextmanager
def connect(
    address: str = "local",
    workers: int = 2,
    dashboard: bool = False,
    modules: Sequence[str] = (),
    say: Say = to_stderr,
    metadata: Mapping[str, str] | None = None,
    insecure: bool = False,
) -> Iterator[bool]:
    """Join the cluster at `address` for the length of a `with` block.

    A cluster that this process has joined already is used and left running. Of one that this call
    starts, no process is left, however this process ends. If a cluster is lost, this process ends
    with a line and exit code 5.

    Args:
        address: "local" starts a cluster on this machine; "auto" and HOST:PORT join a running one.
        workers: processes that a local cluster has room for.
        dashboard: True starts the dashboard of a local cluster.
        modules: folders of Python modules that are shipped to the workers.
        say: receives where the dashboard is, why a start is repeated, and that Ray is lost.
        metadata: what Ray tells about this command; the dashboard shows "job_name" of it.
        insecure: True allows a cluster that asks for no token.

    Yields:
        True if this call started the cluster.

    Raises:
        StalledError: no cluster runs at that address, or none could be started.
        ConfigError: a folder of modules is absent or comes too late, or the address is malformed.
        UnsafeError: the cluster asks for no token, or the token or the folder is not private.
    """
    environment = _environment(modules, local := address == "local")
    if ray.is_initialized():
        if modules:
            raise ConfigError(
                "cluster.modules: this process has joined a Ray cluster already, and modules are "
                "shipped on joining. Call ray.shutdown() first."
            )
        with watched(say):
            yield False
        return
    address = _checked(address, insecure)
    options = _local(workers, dashboard) if local else {}
    options |= {"job_config": JobConfig(metadata=dict(metadata or {})), "runtime_env": environment}
    with contextlib.ExitStack() as stack:
        url = _join(stack, address, options, say)
        if url and (dashboard or not local):
            say(f"Ray dashboard: http://{url} (Jobs, Actors, Cluster and Metrics)")
        yield local


def _join(
    stack: contextlib.ExitStack, address: str, options: Mapping[str, Any], say: Say
) -> str | None:
    """Start or join a Ray until a stack is closed; return the address of its dashboard."""
    place = access.private_folder(say) if address == "local" else None
    start, starts = 1, STARTS if place else 1
    while True:
        try:
            return stack.enter_context(
                _started(place, options, say) if place else _joined(address, options, say)
            )
        except Exception as error:
            # Ray raises a bare Exception if it does not start in time.
            reason = str(error).partition("\n")[0].rstrip(".")
            if start == starts:
                raise _unreachable(address, reason) from error
            start += 1
            say(f"Ray did not start: {reason}; trying again ({start} of {starts})")


@contextlib.contextmanager
def _started(place: Path, options: Mapping[str, Any], say: Say) -> Iterator[str | None]:
    """Start a Ray with a new folder in a place; nothing of both is left after the `with` block."""
    folder = access.new_ray_folder(place)
    # Ray leaves the processes of a start that failed.
    with Reaper(folder) as reaper:
        folder.mkdir(mode=0o700)
        settings = {**WORKER_SETTINGS, **reaper.settings}
        with _joined("local", {**options, "_temp_dir": str(folder)}, say, settings) as url:
            yield url


@contextlib.contextmanager
def _joined(
    address: str, options: Mapping[str, Any], say: Say, settings: Mapping[str, str] | None = None
) -> Iterator[str | None]:
    """Start or join a Ray for the length of a `with` block; yield the address of its dashboard."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    handler = signal.getsignal(signal.SIGTERM)
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        stack.enter_context(watched(say))
        with inherited(settings or {}):
            context = ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, **options
            )
        if threading.current_thread() is threading.main_thread():
            # Ray installs a handler of its own.
            signal.signal(signal.SIGTERM, handler)
        yield context.dashboard_url


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
        "num_cpus": max(min(workers, most_here()) + 1, 3),
        "include_dashboard": dashboard,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": 256 * 2**20,
        "_node_ip_address": access.LOOPBACK,
        "_system_config": {} if dashboard else {**QUIET},
    }


def _checked(address: str, insecure: bool) -> str:
    """Return "local", or HOST:PORT of a cluster that is reached and asks for a private token."""
    if address == "auto":
        found = announced()
    else:
        _reach(address)
        found = address
    access.check_token(address == "local")
    access.check_open(found, insecure)
    return found


def announced() -> str:
    """Return HOST:PORT of the cluster that this machine belongs to.

    Raises:
        StalledError: there is none.
        UnsafeError: another user wrote the file that names it.
    """
    access.check_announcement(Path(get_ray_address_file(None)))
    try:
        found: str = services.get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise _unreachable("auto", str(error)) from error
    return found


def _reach(address: str) -> None:
    """Raise StalledError unless HOST:PORT accepts connections; Ray would wait for minutes."""
    if address == "local":
        return
    check_address(address)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise _unreachable(address, str(error)) from error
