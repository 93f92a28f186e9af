"""Joining a Ray cluster, or starting one on this machine."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray

from rum_ray.errors import ConfigError, RumRayError, StalledError
from rum_ray.study.worker_pool import WORKER_SETTINGS

REACH_SECONDS = 20.0


@contextlib.contextmanager
def connect(
    address: str = "local",
    workers: int = 2,
    dashboard: bool = False,
    modules: Sequence[str] = (),
) -> Iterator[str | None]:
    """Join the cluster at `address` for the length of a `with` block.

    Args:
        address: "local" starts one on this machine, "auto" and HOST:PORT join a running one.
        workers: how many processes a local cluster makes room for.
        dashboard: whether a local cluster has a dashboard.
        modules: folders of Python modules that are shipped to the workers.

    Yields:
        The dashboard's address, if there is one.

    Raises:
        StalledError: there is no cluster at that address, or none could be started.
        ConfigError: a module's folder does not exist, or the address is none.
    """
    environment = _environment(modules)
    local = address == "local"
    _authenticate(local)
    options = _local(workers, dashboard) if local else {}
    logging.getLogger("ray").setLevel(logging.ERROR)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        context = ray.init(
            address=address,
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except RumRayError:
        raise
    except Exception as error:
        # Ray raises a bare Exception where it does not start in time.
        raise _unreachable(address, str(error).partition("\n")[0].rstrip(".")) from error
    if threading.current_thread() is threading.main_thread():
        # Ray puts one of its own in place.
        signal.signal(signal.SIGTERM, handler)
    try:
        url = context.dashboard_url
        yield f"http://{url}" if url and (dashboard or not local) else None
    finally:
        ray.shutdown()


def _unreachable(address: str, reason: str) -> StalledError:
    """Return the error that there is no cluster at an address, and what to do."""
    if address == "local":
        return StalledError(
            f"Ray did not start on this machine: {reason}. Try again when it is less busy."
        )
    return StalledError(
        f"no Ray cluster at {address}: {reason}. Start one with 'ray start --head', or leave "
        "--address out to use this machine."
    )


def _environment(modules: Sequence[str]) -> dict[str, Any]:
    """Return what every worker process gets."""
    for module in modules:
        if not Path(module).is_dir():
            raise ConfigError(f"cluster.modules: {module} is not a folder.")
    shipped = [str(Path(module).absolute()) for module in modules]
    return {"env_vars": WORKER_SETTINGS, **({"py_modules": shipped} if shipped else {})}


def _local(workers: int, dashboard: bool) -> dict[str, Any]:
    """Return the options of a cluster on this machine.

    Its CPUs are counted by what we start, not by the cores: a stage's workers, and beside them the
    driver's own trial or embedding actors.
    """
    return {
        "num_cpus": max(workers + 1, 3),
        "include_dashboard": dashboard,
        "dashboard_host": "127.0.0.1",
        "object_store_memory": 256 * 2**20,
        "_temp_dir": str(Path(tempfile.gettempdir()) / f"rum-ray-{os.getuid()}"),
    }


def _reach(address: str) -> None:
    """Raise OSError unless something listens at HOST:PORT; Ray itself would wait for minutes."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"--address {address}: expected local, auto or HOST:PORT.")
    socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()


def _authenticate(local: bool) -> None:
    """Make the token of a local cluster, if there is none, in a file that only this user reads."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    if not local or os.environ.get("RAY_AUTH_MODE") != "token" or "RAY_AUTH_TOKEN" in os.environ:
        return
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
