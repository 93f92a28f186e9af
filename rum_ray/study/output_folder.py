"""The output folder of a run: one experiment, one live run at a time, and its plans."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rum_ray import config
from rum_ray.errors import BusyError, RumRayError, StoreError
from rum_ray.experiment import Experiment
from rum_ray.files import remove_abandoned, write_bytes
from rum_ray.store import CACHE, Store
from rum_ray.study.methods import method_of
from rum_ray.study.spaces import picked_plan
from rum_ray.study.study import Study

EXPERIMENT = "experiment.yaml"
STORE_DEPTH, OUT_DEPTH = 2, 2
"""Depth of the folders with files of their own in a store, and in an output folder."""


def check_writable(store: Store) -> None:
    """Raise StoreError if a local store is not writable; change nothing."""
    if store.folder is None:
        return
    folder = next(f for f in (store.folder, *store.folder.parents) if os.access(f, os.F_OK))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"cannot write to the store {store.root}: {folder} is not a writable folder. "
            "Name another --store."
        )


def prepare_store(store: Store) -> None:
    """Check that a local store is writable; remove the temporary files of dead writers from it.

    Raises:
        StoreError: the store is not writable.
    """
    check_writable(store)
    if store.folder is not None:
        remove_abandoned(store.folder, STORE_DEPTH)


@contextmanager
def nothing_left(store: Store) -> Iterator[None]:
    """Remove new cached images if an error is raised within a `with` block.

    Images are new if the store had none before. A store that is then empty is removed, too.
    """
    is_new = store.folder is not None and not os.access(store.folder / CACHE, os.F_OK)
    try:
        yield
    except RumRayError:
        if is_new and store.folder is not None:
            shutil.rmtree(store.folder / CACHE, ignore_errors=True)
            with suppress(OSError):
                store.folder.rmdir()
        raise


@contextmanager
def lock_folder(out: Path, experiment: Experiment) -> Iterator[None]:
    """Lock an output folder for one experiment.

    Raises:
        BusyError: another live run holds the lock, or the folder has another experiment.
        StoreError: the folder is not writable.
    """
    _check_same(out, experiment)
    with hold_folder(out):
        write_bytes(out / EXPERIMENT, config.dump(experiment).encode())
        yield


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder, whatever is in it.

    Raises:
        BusyError: another live run holds the lock.
        StoreError: the folder is not writable.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"cannot write to {out}: {error.strerror}. Name another --out.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 100).decode() or "another process"
            raise BusyError(
                f"{out} is in use by {holder}. Wait for it, or name another --out."
            ) from error
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()}".encode())
        remove_abandoned(out, OUT_DEPTH)
        yield
    finally:
        os.close(lock)


def _check_same(out: Path, experiment: Experiment) -> None:
    """Raise BusyError if the folder belongs to another experiment."""
    path = out / EXPERIMENT
    # A name that is too long is no error here, but where the folder is created.
    if not os.access(path, os.F_OK):
        return
    try:
        digest = config.load(path).digest
    except RumRayError as error:
        raise BusyError(
            f"{out} may hold another experiment, because its {EXPERIMENT} cannot be used: {error} "
            "Name another --out, or remove the folder; results in the store are reused either way."
        ) from error
    if digest != experiment.digest:
        raise BusyError(
            f"{out} holds another experiment ({digest[:12]}; this one is "
            f"{experiment.digest[:12]}). Name another --out, or remove the folder; results in the "
            "store are reused either way."
        )


def write_plans(folder: Path, study: Study) -> str:
    """Write the plan of the search to plan.yaml, in the format of a file's `plan`; return the path.

    The plans of searches with other references go to plan-surrogate.yaml and so on.
    """
    for name, search in study.searches.items():
        if method_of(study, search) == "rum":
            plan = picked_plan(search, study.context, study.partition)
            path = folder / ("plan" + name.removeprefix(search.name).replace(" ", "-") + ".yaml")
            write_bytes(path, config.dump_plan(plan).encode())
    return str(folder / "plan.yaml")
