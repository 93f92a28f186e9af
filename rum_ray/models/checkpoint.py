"""Files of weights as people have them: `.pt`, `.pth` and `.safetensors`, read and written back.

Example:
    >>> import tempfile
    >>> import torch
    >>> from torch import nn
    >>> from rum_ray.models.checkpoint import read
    >>> network = nn.Linear(2, 1)
    >>> weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "model_state": weights}, f"{folder}/mine.pth")
    ...     mine = read(f"{folder}/mine.pth")
    ...     fitted = mine.fit(network.state_dict(), "my network")
    ...     left_out = mine.write(folder, fitted)
    ...     again = torch.load(f"{folder}/model.pt", weights_only=True)
    >>> mine.place, sorted(fitted)
    (('model_state',), ['bias', 'weight'])
    >>> again["epoch"], sorted(again["model_state"])
    (3, ['module.bias', 'module.weight'])
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rum_ray.errors import DataError, UnsafeError
from rum_ray.files import open_regular, regular_status, write_bytes
from rum_ray.models.matching import align, fitted, is_numbered, mismatch, wrappers
from rum_ray.models.structure import decode
from rum_ray.models.unpickle import AROUND, TENSORS, UNSAFE, WRONG

MOST_BYTES = 32 << 30
"""Largest file of weights that is read."""
SAFETENSORS, PT = "model.safetensors", "model.pt"
"""Names of the files of an unlearned model."""
_TORCH = (b"PK\x03\x04", b"\x80\x02")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights in a file, and the structure of the file.

    Attributes:
        path: the file.
        state: tensors by their names in the file.
        place: keys that lead to the weights in the file; none if the file is a bare `state_dict`.
        key: key of the experiment file that names the file, for messages.
        tree: the values around the weights, in the form of `rum_ray.models.structure.encode`.
        left: keys of values of the file that are not kept: optimizer states and other tensors.
    """

    path: str
    state: Mapping[str, Tensor]
    place: tuple[str, ...] = ()
    key: str = "recipe.weights"
    tree: Any = field(default=("state", "OrderedDict"), repr=False)
    left: tuple[str, ...] = ()

    def fit(
        self, expected: Mapping[str, Tensor], network: str, head: int | None = None
    ) -> dict[str, Tensor]:
        """Return the weights by the names of a network, in the types of the network.

        Args:
            expected: the network's `state_dict`: names, shapes and types.
            network: name of the network, for messages.
            head: number of classes of a network whose head may differ: tensors of the head that do
                not fit are then left out.

        Raises:
            DataError: names, shapes or types differ, or a value is not finite.
        """
        names = align(self.state, expected, head)
        if names is None:
            raise self.error(mismatch(self.state, expected, network))
        try:
            return fitted({name: self.state[own] for name, own in names.items()}, expected, head)
        except ValueError as error:
            raise self.error(f"{error} (network: {network})") from error

    def notes(self, expected: Mapping[str, Tensor], head: int | None = None) -> list[str]:
        """Return what was done to fit the weights to a network, one sentence each."""
        names = align(self.state, expected, head) or {}
        notes = []
        if self.place:
            notes.append(f"the weights are under the key '{'.'.join(self.place)}'")
        removed = wrappers(names)
        if removed:
            notes.append(f"the prefix '{removed}' of the names in the file is taken off")
        elif is_numbered(names.values()) and not is_numbered(names):
            notes.append("its layers have numbers, and are those of the network in this order")
        kinds = {self.state[own].dtype for own in names.values()}
        kinds = {kind for kind in kinds if kind.is_floating_point} - {torch.float32}
        if kinds:
            listed = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
            notes.append(f"weights of the type {listed} are converted to float32")
        if head is not None:
            shapes = {n: self.state[own].shape for n, own in names.items()}
            fresh = [n for n in expected if n not in shapes or shapes[n] != expected[n].shape]
            fresh = [n for n in fresh if not n.endswith("num_batches_tracked")]
            if fresh:
                notes.append(f"{', '.join(fresh)} do not fit the {head} classes, and start anew")
        return [f"{self.key}: {self.path}: {note}." for note in notes]

    def write(
        self, folder: str | Path, state: Mapping[str, Tensor], hidden: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Write weights of the same network as model.safetensors and model.pt.

        model.safetensors has the names of the network. model.pt has the structure and the names of
        the file that was read, so that the script that loads that file loads it, too. Weights are
        float32. An optimizer keeps its options and loses its state; other tensors beside the
        weights are left out, because they follow from the training data.

        Args:
            folder: receives both files; each is written atomically.
            state: weights by the names of the network.
            hidden: texts that no file may contain, such as the names of forgotten examples. Values
                of the structure with one of them, or with its last part as a path, are left out.

        Returns:
            The keys of the values that are left out.

        Raises:
            DataError: the names are not those of the network.
            StoreError: a file cannot be written.
        """
        names = align(self.state, state, None)
        if names is None:
            raise self.error(mismatch(self.state, state, "the unlearned model"))
        plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        own = {theirs: ours for ours, theirs in names.items()}
        inner = {n: plain[own[n]] if n in own else v for n, v in self.state.items()}
        forbidden = {*hidden, *(PurePosixPath(text).name for text in hidden)}
        left: list[str] = []
        buffer = io.BytesIO()
        torch.save(decode(self.tree, inner, forbidden, left), buffer)
        write_bytes(Path(folder) / PT, buffer.getvalue())
        write_bytes(Path(folder) / SAFETENSORS, save(_unshared(plain)))
        return (*self.left, *left)

    def error(self, reason: str) -> DataError:
        """Return an error about the file."""
        return DataError(f"{self.key}: {self.path}: {reason}")


def read(path: str | Path, key: str = "recipe.weights") -> Checkpoint:
    """Return the weights of a file, whatever its suffix.

    A file of `torch.save` is read with `weights_only=True` in a child process, whose memory, time
    and output are limited. The weights are the file's `state_dict`, or are in it under
    `state_dict`, `model_state_dict`, `model_state`, `model` or `net`, or under the only other key
    that has one.
    The last file read stays in memory.

    Args:
        path: the file.
        key: key of the experiment file that names it, for messages.

    Raises:
        DataError: the file cannot be read or has no weights.
        UnsafeError: reading the file could run code or exhaust memory.
    """
    place, identity = _identity(path, key)
    try:
        return _read(str(path), str(place), key, identity)
    except OSError as error:
        raise DataError(f"{key}: cannot read {path}: {error}.") from error


def file_digest(path: str | Path, key: str = "recipe.weights") -> str:
    """Return the SHA-256 of a file of weights, which represents its content in keys.

    Raises:
        DataError: the file cannot be read.
        UnsafeError: the file is too large.
    """
    place, _ = _identity(path, key)
    try:
        with open_regular(place) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{key}: cannot read {path}: {error.strerror}.") from error


def _identity(path: str | Path, key: str) -> tuple[Path, tuple[int, ...]]:
    """Return the place of a regular file, and numbers that change with its content."""
    try:
        place = Path(path).expanduser()
        status = regular_status(place)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{key}: cannot read {path}: {reason}.") from error
    if status.st_size > MOST_BYTES:
        raise UnsafeError(
            f"{key}: {path} has {status.st_size / 2**30:.0f} GiB; at most {MOST_BYTES >> 30} GiB "
            "are read."
        )
    return place, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: str, place: str, key: str, identity: tuple[int, ...]) -> Checkpoint:
    """Return the weights of a file; `identity` distinguishes its versions."""
    del identity
    with open_regular(place) as file:
        start = file.read(9)
    # The size of a safetensors header may have the bytes of a pickle; a brace follows it.
    if start.startswith(_TORCH) and start[8:] != b"{":
        # torch.load takes the suffix at its word.
        if place.endswith(Path(SAFETENSORS).suffix):
            raise DataError(
                f"{key}: {path} is a torch file, written by torch.save, and is named as a "
                f"safetensors file. Rename it to {Path(path).stem}.pt."
            )
        return _read_torch(path, place, key)
    try:
        return Checkpoint(path, load_file(place), key=key)
    except SafetensorError as error:
        raise DataError(
            f"{key}: {path} is neither a safetensors file ({error}) nor one of torch.save."
        ) from error


def _read_torch(path: str, place: str, key: str) -> Checkpoint:
    """Return the weights of a file of `torch.save`, which a child process reads."""
    code = "from rum_ray.models.unpickle import main; main()"
    paths = os.pathsep.join(part for part in sys.path if part)
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory(prefix=f"rum-ray-{os.getpid()}-") as folder:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(Path(place).absolute()), folder],
            env={**environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            if done.returncode not in (UNSAFE, WRONG):
                text = "could not be read within the limits of memory and time"
                raise UnsafeError(f"{key}: {path} {text} ({' '.join(reason) or done.returncode}).")
            kind = UnsafeError if done.returncode == UNSAFE else DataError
            raise kind(f"{key}: {path} {reason[0]}.")
        tensors = load_file(Path(folder) / TENSORS)
        around = json.loads((Path(folder) / AROUND).read_text("utf-8"))
    state = {name: tensors[name] for name in around["names"]}
    return Checkpoint(
        path, state, tuple(around["place"]), key, around["tree"], tuple(around["left"])
    )


def _unshared(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without common memory, as safetensors requires."""
    return {name: value.clone() for name, value in state.items()}
