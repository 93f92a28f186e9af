"""Artifacts by digest: what was made once is never made again.

An artifact lies under the digest of the values that determine it, in one safetensors file that
carries its own checksum; a `.json` of the same name beside it says when and where it was made, and
is outside key and checksum. Files are written under a temporary name and linked into place, so a
reader finds a whole artifact or none, whatever was killed.
"""

import contextlib
import json
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as format_arrays

from rum_ray.digest import digest
from rum_ray.errors import IntegrityError, StoreError
from rum_ray.files import locked, write_once

FORMAT = 2


@dataclass(frozen=True)
class Key:
    """What an artifact is, and the values that determine it."""

    kind: str
    values: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """The name it is stored under."""
        return digest({"format": FORMAT, "kind": self.kind, **self.values})


@dataclass(frozen=True, eq=False)
class Artifact:
    """What a job makes: arrays by name, and a value of plain JSON types.

    Attributes:
        arrays: by name.
        value: of plain JSON types.
        provenance: what the job knows of its making; outside the checksum, and empty if the
            artifact was read from a store.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    value: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def checksum(self, key: Key) -> str:
        """Return the digest of the content under its key."""
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        return digest({"key": key.digest, "value": self.value, "arrays": arrays})


class Store:
    """A folder, or a URI such as s3://bucket/path, of artifacts.

    Attributes:
        root: as it was given; a local path is made absolute.
    """

    def __init__(self, root: str | Path) -> None:
        """Open a store; nothing is written until something is saved.

        Raises:
            StoreError: the URI cannot be understood.
        """
        self.root = str(root)
        if "://" in self.root:
            try:
                self._files, self._base = fs.FileSystem.from_uri(self.root)
            except (OSError, ValueError) as error:
                raise StoreError(f"store '{self.root}' cannot be opened: {error}") from error
        else:
            self.root = str(Path(root).expanduser().absolute())
            self._files, self._base = fs.LocalFileSystem(), self.root

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.root,)

    def path(self, key: Key) -> str:
        """Return where the artifact is, or would be."""
        return f"{self._base}/{key.kind}/{key.digest}.safetensors"

    def has(self, key: Key) -> bool:
        """Return whether the artifact's file exists."""
        kind = self._files.get_file_info(self.path(key)).type
        return bool(kind == fs.FileType.File)

    def have(self, keys: Sequence[Key]) -> list[bool]:
        """Return for each key whether the artifact's file exists."""
        infos = self._files.get_file_info([self.path(key) for key in keys])
        return [info.type == fs.FileType.File for info in infos]

    def find(self, key: Key) -> Artifact | None:
        """Return the artifact, verified, or None; a damaged file is moved aside with a warning."""
        content = self._read(self.path(key)) if self.has(key) else None
        if content is None:
            return None
        try:
            return self._parse(key, content)
        except StoreError as error:
            aside = f"{self._base}/quarantine/{key.kind}-{key.digest}-{uuid.uuid4().hex}"
            self._move(self.path(key), aside)
            warnings.warn(f"{error} It was moved to {aside} and will be made again.", stacklevel=2)
            return None

    def load(self, key: Key) -> Artifact:
        """Return an artifact that must be there.

        Raises:
            StoreError: it is missing or damaged.
        """
        artifact = self.find(key)
        if artifact is None:
            raise StoreError(f"{key.kind} {key.digest[:12]} is not in the store {self.root}.")
        return artifact

    def provenance(self, key: Key) -> dict[str, Any]:
        """Return how, when and where the artifact was made; empty if that is unknown."""
        path = self.path(key).replace(".safetensors", ".json")
        try:
            known: dict[str, Any] = json.loads(self._read(path) or b"{}")
        except ValueError:
            # It is outside the checksum, and no result depends on it.
            return {}
        return known

    def save(self, key: Key, artifact: Artifact, provenance: Mapping[str, Any]) -> None:
        """Keep an artifact; one that is there already must have the same content.

        Raises:
            IntegrityError: the same key was made with different bits before.
            StoreError: the store cannot be written.
        """
        checksum = artifact.checksum(key)
        metadata = {"checksum": checksum, "value": json.dumps(artifact.value)}
        arrays = {name: np.asarray(array, order="C") for name, array in artifact.arrays.items()}
        content = json.dumps(provenance, sort_keys=True).encode()
        self._write(self.path(key).replace(".safetensors", ".json"), content)
        if not self._write(self.path(key), _format(arrays, metadata)):
            existing = self.find(key)
            if existing is None:
                self.save(key, artifact, provenance)
            elif existing.checksum(key) != checksum:
                raise IntegrityError(
                    f"{key.kind} {key.digest[:12]} was made twice with different bits. Something "
                    "outside its key changed them: another CPU, library or nondeterministic code."
                )

    def lock(self, key: Key) -> contextlib.AbstractContextManager[None]:
        """Hold a key, so that one process makes the artifact and the others wait and read it.

        A store at a URI has no locks: nobody waits there, and what is made twice costs time only.
        """
        if not isinstance(self._files, fs.LocalFileSystem):
            return contextlib.nullcontext()
        return locked(Path(self.path(key)).with_suffix(".lock"))

    def discard(self, kind: str) -> None:
        """Remove all artifacts of a kind; what another process is just writing stays."""
        folder = fs.FileSelector(f"{self._base}/{kind}", allow_not_found=True)
        for file in self._files.get_file_info(folder):
            if not file.base_name.startswith("."):
                with contextlib.suppress(OSError):
                    self._files.delete_file(file.path)

    def _parse(self, key: Key, content: bytes) -> Artifact:
        """Return the artifact in a file's bytes, if they are what was written."""
        try:
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length])["__metadata__"]
            artifact = Artifact(parse_arrays(content), json.loads(metadata["value"]))
            intact = artifact.checksum(key) == metadata["checksum"]
        except Exception as error:
            # Damaged bytes make the parser raise errors of many kinds.
            raise StoreError(f"{self.path(key)} cannot be read ({error}).") from error
        if not intact:
            raise StoreError(f"{self.path(key)} does not match its checksum.")
        return artifact

    def _read(self, path: str) -> bytes | None:
        """Return a file's content; None if another process has just moved it aside."""
        try:
            with self._files.open_input_stream(path) as stream:
                content: bytes = stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}.") from error
        return content

    def _move(self, path: str, aside: str) -> None:
        """Move a damaged file aside, if no other process has done so."""
        try:
            self._files.create_dir(aside.rpartition("/")[0], recursive=True)
            self._files.move(path, aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{path} is damaged, and cannot be moved aside: {error}.") from error

    def _write(self, path: str, content: bytes) -> bool:
        """Write a whole file if there is none, and return whether there was none."""
        try:
            if isinstance(self._files, fs.LocalFileSystem):
                return write_once(Path(path), content)
            if self._files.get_file_info(path).type == fs.FileType.File:
                return False
            with self._files.open_output_stream(path) as stream:
                stream.write(content)
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.root}: {error}. Free space, or name another "
                "with --store; what is there stays valid."
            ) from error
        return True

    @property
    def bookkeeping(self) -> str:
        """Where Ray keeps its own records of runs; no result depends on them."""
        path, mark, query = self.root.partition("?")
        return f"{path}/ray{mark}{query}"

    def state_path(self, name: str) -> Path | None:
        """Return where an unfinished job's state is kept; only local stores keep any."""
        if not isinstance(self._files, fs.LocalFileSystem):
            return None
        return Path(self._base) / "states" / name


def _format(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with a sorted header; the library's own is in any order."""
    content = format_arrays(arrays, metadata=metadata)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
