"""Every operation on the files of a store fails once, in a scenario that uses all of `Store`."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import numpy as np

from rum_ray.errors import StoreError
from rum_ray.store import Artifact, Key, Store, packs
from soak.calls import CHANGES, Calls, fails
from soak.outcome import Outcome

KINDS = ("pool", "model", "trial")
COUNT = 4
ERRORS = {
    "input/output error": (errno.EIO, ()),
    "disk full": (errno.ENOSPC, CHANGES),
    "permission denied": (errno.EACCES, ()),
    "stale network folder": (errno.ESTALE, ()),
    "killed": (None, ()),
}
"""The error of an operation, None for a dead process; the operations that raise it, () for all."""


def keys() -> list[Key]:
    return [Key(kind, {"n": number}) for kind in KINDS for number in range(COUNT)]


def artifact(key: Key) -> Artifact:
    number = key.values["n"]
    return Artifact({"a": np.arange(number + 5.0)}, {"n": number, "kind": key.kind})


def scenario(root: Path) -> None:
    """Save, find, pack and remove; a second call goes on where the first one ended."""
    with mock.patch.object(packs, "PACK_RECORDS", COUNT):
        _use(Store(root))


def _use(store: Store) -> None:
    for key in keys():
        store.save_checkpoint(f"{key.digest}-x", b"state")
        with store.lock(key):
            if store.find(key) is None:
                assert store.checkpoint(f"{key.digest}-x") == b"state"
                store.save(key, artifact(key), {"seconds": 1.0})
        store.remove_checkpoints(f"{key.digest}-")
        store.provenance(key)
    store.pack({"pool"})
    assert all(store.have(keys()))
    found = {number: each.value for number, each in store.load_each(keys())}
    assert found == {number: artifact(key).value for number, key in enumerate(keys())}
    extra = Key("model", {"n": COUNT})
    store.save(extra, artifact(extra), {})
    store.remove([extra])
    store.discard("prefix")


def content(root: Path) -> Mapping[str, str]:
    """The checksum of each artifact of the scenario that the store has."""
    store = Store(root)
    found = [(key, store.find(key)) for key in [*keys(), Key("model", {"n": COUNT})]]
    return {f"{k.kind} {k.values['n']}": a.checksum(k) for k, a in found if a is not None}


def every_operation(folder: Path, kind: str, until: Callable[[], bool] = lambda: False) -> Outcome:
    """Let each operation fail once, each in a store of its own, which is then used again."""
    number, events = ERRORS[kind]
    outcome, known = Outcome(), set[str]()
    scenario(folder / "whole")
    right = content(folder / "whole")
    while not until():
        root = folder / f"store{len(known)}"
        wanted = lambda event, name: not events or event in events  # noqa: E731
        failed, error = _attempt(root, known, wanted, number)
        if failed is None:
            break
        known.add(failed)
        outcome.faults[kind] += 1
        if error is not None and not isinstance(error, StoreError):
            outcome.wrong.append(f"{kind} at {failed.replace(str(root), '')}: {error!r}")
        before = content(root)
        with contextlib.suppress(Exception):
            scenario(root)
        after = content(root)
        lost = (right.keys() - after.keys()) | (before.keys() - after.keys() - {f"model {COUNT}"})
        outcome.verdict.lost += len(lost)
        outcome.verdict.doubled += len(after.keys() - right.keys())
        outcome.verdict.differing += sum(after[name] != right.get(name) for name in after)
        shutil.rmtree(root)
    return outcome


def _attempt(
    root: Path, known: set[str], wanted: Callable[[str, str], bool], number: int | None
) -> tuple[str | None, Exception | None]:
    """Run the scenario with a fault; return the operation that failed, and the error that came."""
    names = {name.replace("ROOT", str(root)) for name in known}
    if number is None:
        return _killed(root, names, wanted)
    calls, came = Calls((root,), names, wanted, fails(number)), None
    try:
        with calls:
            scenario(root)
    except Exception as error:
        came = error
    failed = calls.failed
    return (None if failed is None else failed.replace(str(root), "ROOT")), came


def _killed(
    root: Path, known: set[str], wanted: Callable[[str, str], bool]
) -> tuple[str | None, Exception | None]:
    """Run the scenario in a process that dies at an operation; return the operation."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:

        def act(name: str) -> None:
            os.write(writer, name.encode())
            os._exit(137)

        try:
            with Calls((root,), known, wanted, act):
                scenario(root)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:  # noqa: PTH123 - an open file, not a path
        failed = file.read()
    os.waitpid(child, 0)
    return (failed.replace(str(root), "ROOT") or None), None
