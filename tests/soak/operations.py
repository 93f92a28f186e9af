"""Every operation on the files of a store fails once, in scenarios that use all of `Store`."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from rum_ray.errors import StoreError
from rum_ray.store import Artifact, Key, Store, packs
from soak.calls import CHANGES, Calls, fails
from soak.outcome import Enough, Outcome

KINDS = ("pool", "model", "trial")
COUNTS = (1, 3)
"""Least and most artifacts of a kind."""
EXTRA = Key("model", {"n": 99})
"""An artifact that is removed in the end."""
ERRORS = {
    "input/output error": (errno.EIO, ()),
    "disk full": (errno.ENOSPC, CHANGES),
    "permission denied": (errno.EACCES, ()),
    "stale network folder": (errno.ESTALE, ()),
    "killed": (None, ()),
}
"""The error of an operation, None for a dead process; the operations that raise it, () for all."""


def drawn(draw: random.Random) -> list[Key]:
    """The artifacts of a scenario, in the order in which they are made."""
    keys = [Key(kind, {"n": n}) for kind in KINDS for n in range(draw.randint(*COUNTS))]
    return draw.sample(keys, len(keys))


def artifact(key: Key) -> Artifact:
    number = key.values["n"]
    return Artifact({"a": np.arange(number + 5.0)}, {"n": number, "kind": key.kind})


def scenario(root: Path, keys: Sequence[Key]) -> None:
    """Save, find, pack and remove; a second call goes on where the first one ended."""
    with mock.patch.object(packs, "PACK_RECORDS", sum(key.kind == "pool" for key in keys)):
        _use(Store(root), keys)


def _use(store: Store, keys: Sequence[Key]) -> None:
    for key in keys:
        store.save_checkpoint(f"{key.digest}-x", b"state")
        with store.lock(key):
            if store.find(key) is None:
                assert store.checkpoint(f"{key.digest}-x") == b"state"
                store.save(key, artifact(key), {"seconds": 1.0})
        store.remove_checkpoints(f"{key.digest}-")
        store.provenance(key)
    store.pack({"pool"})
    assert all(store.have(keys))
    found = {number: each.value for number, each in store.load_each(keys)}
    assert found == {number: artifact(key).value for number, key in enumerate(keys)}
    store.save(EXTRA, artifact(EXTRA), {})
    store.remove([EXTRA])
    store.discard("prefix")


def content(root: Path, keys: Sequence[Key]) -> Mapping[str, str]:
    """The checksum of each artifact of the scenario that the store has."""
    store = Store(root)
    found = [(key, store.find(key)) for key in [*keys, EXTRA]]
    return {str(key): each.checksum(key) for key, each in found if each is not None}


def operations(folder: Path, kind: str, enough: Enough, draw: random.Random) -> Outcome:
    """Let each operation of one scenario after the other fail, until that is enough."""
    outcome = Outcome()
    while not enough(outcome):
        _every_operation(folder, kind, drawn(draw), enough, outcome)
    return outcome


def _every_operation(
    folder: Path, kind: str, keys: Sequence[Key], enough: Enough, outcome: Outcome
) -> None:
    """Let each operation fail once, each in a store of its own, which is then used again."""
    (number, events), known = ERRORS[kind], set[str]()
    scenario(folder / "whole", keys)
    right = content(folder / "whole", keys)
    wanted = lambda event, name: not events or event in events  # noqa: E731
    while not enough(outcome):
        root = folder / f"store{len(known)}"
        failed, error = _attempt(root, keys, known, wanted, number)
        if failed is None:
            break
        known.add(failed)
        outcome.faults[kind] += 1
        if error is not None and not isinstance(error, StoreError):
            outcome.wrong.append(f"{kind} at {failed}: {error!r}")
        before = content(root, keys)
        try:
            scenario(root, keys)
        except Exception as again:
            outcome.wrong.append(f"after {kind} at {failed}: {again!r}")
        after = content(root, keys)
        lost = (right.keys() - after.keys()) | (before.keys() - after.keys() - {str(EXTRA)})
        outcome.verdict.lost += len(lost)
        outcome.verdict.doubled += len(after.keys() - right.keys())
        outcome.verdict.differing += sum(after[name] != right.get(name) for name in after)
        shutil.rmtree(root)
    shutil.rmtree(folder)


def _attempt(
    root: Path,
    keys: Sequence[Key],
    known: set[str],
    wanted: Callable[[str, str], bool],
    number: int | None,
) -> tuple[str | None, Exception | None]:
    """Run the scenario with a fault; return the operation that failed, and the error that came."""
    names = {name.replace("ROOT", str(root)) for name in known}
    if number is None:
        return _killed(root, keys, names, wanted)
    calls, came = Calls((root,), names, wanted, fails(number)), None
    try:
        with calls:
            scenario(root, keys)
    except Exception as error:
        came = error
    failed = calls.failed
    return (None if failed is None else failed.replace(str(root), "ROOT")), came


def _killed(
    root: Path, keys: Sequence[Key], known: set[str], wanted: Callable[[str, str], bool]
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
                scenario(root, keys)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:  # noqa: PTH123 - an open file, not a path
        failed = file.read()
    os.waitpid(child, 0)
    return (failed.replace(str(root), "ROOT") or None), None
