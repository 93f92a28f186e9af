"""A content-addressed store of artifacts, which also serves as cache.

The name of an artifact is the digest of the values that determine it. It is one safetensors file
with its own checksum. A `.json` of the same name holds the provenance (time, host), which is
outside key and checksum. Writes are atomic: a file is written under a temporary name and linked
into place, so a reader finds a complete artifact or none, whichever process was killed.
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
    """Key of an artifact: its kind, and the values that determine its content."""

    kind: str
    values: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """Name of the artifact in the store."""
        return digest({"format": FORMAT, "kind": self.kind, **self.values})


@dataclass(frozen=True, eq=False)
class Artifact:
    """Result of a job: arrays by name, and a value of plain JSON types.

    Attributes:
        arrays: the arrays by name.
        value: the value, of plain JSON types.
        provenance: metadata of the computation from the job; outside the checksum, and empty for
            an artifact read from a store.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    value: Any = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def checksum(self, key: Key) -> str:
        """Return the digest of key and content."""
        arrays = {name: np.asarray(array) for name, array in self.arrays.items()}
        return digest({"key": key.digest, "value": self.value, "arrays": arrays})


class Store:
    """Artifacts in a local folder, or under a URI such as s3://bucket/path.

    Attributes:
        root: the URI, or the absolute path of the folder.
    """

    def __init__(self, root: str | Path) -> None:
        """Open a store; nothing is written before the first artifact is saved.

        Raises:
            StoreError: the URI is invalid.
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
        """Return the path of an artifact, which need not exist."""
        return f"{self._base}/{key.kind}/{key.digest}.safetensors"

    def has(self, key: Key) -> bool:
        """Return True if the file of the artifact exists."""
        kind = self._files.get_file_info(self.path(key)).type
        return bool(kind == fs.FileType.File)

    def have(self, keys: Sequence[Key]) -> list[bool]:
        """Return, per key, True if the file of the artifact exists; one request for all keys."""
        infos = self._files.get_file_info([self.path(key) for key in keys])
        return [info.type == fs.FileType.File for info in infos]

    def find(self, key: Key) -> Artifact | None:
        """Return the verified artifact or None; a damaged file is quarantined with a warning."""
        content = self._read(self.path(key)) if self.has(key) else None
        if content is None:
            return None
        try:
            return self._parse(key, content)
        except StoreError as error:
            target = f"{self._base}/quarantine/{key.kind}-{key.digest}-{uuid.uuid4().hex}"
            self._quarantine(self.path(key), target)
            warnings.warn(f"{error} It was moved to {target}; recomputing it.", stacklevel=2)
            return None

    def load(self, key: Key) -> Artifact:
        """Return the artifact.

        Raises:
            StoreError: the artifact is missing or damaged.
        """
        artifact = self.find(key)
        if artifact is None:
            raise StoreError(f"{key.kind} {key.digest[:12]} is not in the store {self.root}.")
        return artifact

    def provenance(self, key: Key) -> dict[str, Any]:
        """Return time, host and duration of the computation of an artifact; empty if unknown."""
        path = self.path(key).replace(".safetensors", ".json")
        try:
            known: dict[str, Any] = json.loads(self._read(path) or b"{}")
        except ValueError:
            # Provenance is outside the checksum, and no result depends on it.
            return {}
        return known

    def save(self, key: Key, artifact: Artifact, provenance: Mapping[str, Any]) -> None:
        """Save an artifact; an existing artifact of the same key must have the same content.

        Raises:
            IntegrityError: the store has other content under this key.
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
                    f"{key.kind} {key.digest[:12]} was computed twice with different bits. The "
                    "cause is outside its key: another CPU, another library version, or "
                    "nondeterministic code."
                )

    def lock(self, key: Key) -> contextlib.AbstractContextManager[None]:
        """Lock a key, so that one process computes the artifact while the others wait for it.

        A store at a URI has no locks. No process waits there, and a repeated computation costs only
        time.
        """
        if not isinstance(self._files, fs.LocalFileSystem):
            return contextlib.nullcontext()
        return locked(Path(self.path(key)).with_suffix(".lock"))

    def discard(self, kind: str) -> None:
        """Remove all artifacts of a kind, except temporary files of concurrent writers."""
        folder = fs.FileSelector(f"{self._base}/{kind}", allow_not_found=True)
        for file in self._files.get_file_info(folder):
            if not file.base_name.startswith("."):
                with contextlib.suppress(OSError):
                    self._files.delete_file(file.path)

    def _parse(self, key: Key, content: bytes) -> Artifact:
        """Return the artifact in the bytes of a file; StoreError if they are damaged."""
        try:
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length])["__metadata__"]
            artifact = Artifact(parse_arrays(content), json.loads(metadata["value"]))
            intact = artifact.checksum(key) == metadata["checksum"]
        except Exception as error:
            # On damaged bytes, the parser raises many types of errors.
            raise StoreError(f"{self.path(key)} cannot be read ({error}).") from error
        if not intact:
            raise StoreError(f"{self.path(key)} does not match its checksum.")
        return artifact

    def _read(self, path: str) -> bytes | None:
        """Return the content of a file; None if another process has just quarantined it."""
        try:
            with self._files.open_input_stream(path) as stream:
                content: bytes = stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}.") from error
        return content

    def _quarantine(self, path: str, target: str) -> None:
        """Move a damaged file to the quarantine, unless another process has done so."""
        try:
            self._files.create_dir(target.rpartition("/")[0], recursive=True)
            self._files.move(path, target)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{path} is damaged and cannot be moved: {error}.") from error

    def _write(self, path: str, content: bytes) -> bool:
        """Write a file atomically; return False if it exists already."""
        try:
            if isinstance(self._files, fs.LocalFileSystem):
                return write_once(Path(path), content)
            if self._files.get_file_info(path).type == fs.FileType.File:
                return False
            with self._files.open_output_stream(path) as stream:
                stream.write(content)
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.root}: {error}. Free space, or choose another "
                "store with --store. Saved artifacts stay valid."
            ) from error
        return True

    @property
    def bookkeeping(self) -> str:
        """Folder of Ray's own records of runs; no result depends on them."""
        path, mark, query = self.root.partition("?")
        return f"{path}/ray{mark}{query}"

    def state_path(self, name: str) -> Path | None:
        """Return the path of a job's checkpoint; None if the store is not local."""
        if not isinstance(self._files, fs.LocalFileSystem):
            return None
        return Path(self._base) / "states" / name


def _format(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with a sorted header, which the library does not guarantee."""
    content = format_arrays(arrays, metadata=metadata)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
