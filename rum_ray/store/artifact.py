"""Keys and artifacts, and the bytes of a file that holds an artifact."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as format_arrays

from rum_ray.digest import digest
from rum_ray.errors import IntegrityError, StoreError

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

    @classmethod
    def named(cls, kind: str, name: str) -> "Key":
        """Return the key of a known digest; it holds no other values, so it needs little memory."""
        key = cls(kind, {"digest": name})
        # The place where `cached_property` looks first.
        key.__dict__["digest"] = name
        return key


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

    def content(self, key: Key) -> bytes:
        """Return the content of the artifact's file."""
        metadata = {"checksum": self.checksum(key), "value": json.dumps(self.value)}
        arrays = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        return format_file(arrays, metadata)


def parse(key: Key, content: bytes, path: str) -> Artifact:
    """Return the artifact in the content of a file.

    Raises:
        StoreError: the content is damaged, or is that of another key; `path` names the file.
    """
    try:
        metadata = parse_header(content)["__metadata__"]
        artifact = Artifact(parse_arrays(content), json.loads(metadata["value"]))
        intact = artifact.checksum(key) == metadata["checksum"]
    except Exception as error:
        # On damaged bytes, the parser raises many types of errors.
        raise StoreError(f"{path} cannot be read ({error}).") from error
    if not intact:
        raise StoreError(f"{path} does not match its checksum.")
    return artifact


def check_same(key: Key, artifact: Artifact, existing: Artifact) -> None:
    """Raise IntegrityError unless both artifacts have the same content."""
    if artifact.checksum(key) != existing.checksum(key):
        raise IntegrityError(
            f"{key.kind} {key.digest[:12]} was computed twice with different bits. The cause is "
            "outside its key: another CPU, another library version, or nondeterministic code."
        )


def parse_provenance(content: bytes) -> dict[str, Any]:
    """Return the provenance in the content of a file; empty if it is damaged.

    Provenance is outside the checksum, and no result depends on it.
    """
    try:
        known = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    numbers = (known.get(name, 0) for name in ("time", "seconds", "steps_run", "cache_hits"))
    return known if all(isinstance(number, int | float) for number in numbers) else {}


def parse_header(content: bytes) -> dict[str, Any]:
    """Return the header of a safetensors file from its first bytes."""
    header: dict[str, Any] = json.loads(content[8 : header_end(content)])
    return header


def header_end(content: bytes) -> int:
    """Return the number of bytes of a safetensors file before its data."""
    return 8 + int.from_bytes(content[:8], "little")


def format_file(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with a sorted header, which the library does not guarantee."""
    content = format_arrays(arrays, metadata=metadata or None)
    end = header_end(content)
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
