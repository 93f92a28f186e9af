"""Large data for workers: a file in the store that they map, in place of Ray's object store.

The buffers of all arrays lie in the file as they are in memory. The workers of a machine share its
page cache, so data are read and held once per machine. Each worker checks the checksum of the file
first. The process that wrote the file holds its lock, so the file of a dead process can be told.
"""

import contextlib
import mmap
import pickle
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import ray
from ray import cloudpickle

from rum_ray.errors import IntegrityError
from rum_ray.files import temporary_in

PART = 4
"""Data go through the object store up to a quarter of that of the smallest machine."""
ALIGNMENT = 64
_HELD: dict[str, IO[bytes]] = {}
"""The files of this process by path, open and locked until `release`."""


@dataclass(frozen=True)
class MappedFile:
    """A pickled value whose buffers are in a file.

    Attributes:
        path: the file.
        head: the pickle, without buffers.
        spans: offset and length of each buffer.
        checksum: CRC-32 of the buffers.
    """

    path: str
    head: bytes
    spans: tuple[tuple[int, int], ...]
    checksum: int

    def load(self) -> Any:
        """Return the value; its arrays are read-only views of the file.

        Raises:
            IntegrityError: the file has other bytes than those that were written.
        """
        with Path(self.path).open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        checksum = 0
        for at, size in self.spans:
            checksum = zlib.crc32(view[at : at + size], checksum)
        if checksum != self.checksum:
            raise IntegrityError(
                f"{self.path} has other bytes than those that were written: a disk or a file "
                "system between the machines is faulty. Try a store on another one."
            )
        return pickle.loads(self.head, buffers=[view[at : at + size] for at, size in self.spans])


def share(value: Any, folder: Path | None) -> Any:
    """Return a handle of a value for `load_shared`: an object of Ray, or a file if it is large.

    Args:
        value: the value.
        folder: where the file goes, a folder that all machines share; None keeps to Ray's objects.
    """
    buffers: list[pickle.PickleBuffer] = []
    head: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)  # type: ignore[no-untyped-call]
    raws = [buffer.raw() for buffer in buffers]
    if folder is None or sum(raw.nbytes for raw in raws) <= object_store_bytes() / PART:
        return ray.put(value)
    spans: list[tuple[int, int]] = []
    folder.mkdir(parents=True, exist_ok=True)
    path, file = temporary_in(folder, "data")
    found, at, checksum = MappedFile(str(path), head, (), 0), 0, 0
    _HELD[found.path] = file
    try:
        for raw in raws:
            file.write(b"\0" * (-at % ALIGNMENT))
            at += -at % ALIGNMENT
            file.write(raw)
            checksum = zlib.crc32(raw, checksum)
            spans.append((at, raw.nbytes))
            at += raw.nbytes
        file.flush()
    except BaseException:
        release(found)
        raise
    return replace(found, spans=tuple(spans), checksum=checksum)


def release(handle: Any) -> None:
    """Remove the file of a handle, if it has one."""
    if isinstance(handle, MappedFile):
        Path(handle.path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            # What is not written yet does not matter any more.
            _HELD.pop(handle.path).close()


def load_shared(handle: Any) -> Any:
    """Return the value of a handle."""
    return handle.load() if isinstance(handle, MappedFile) else ray.get(handle)


def object_store_bytes() -> float:
    """Return the size of the smallest object store of the cluster."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    sizes = [n["Resources"].get("object_store_memory", 0.0) for n in nodes if n["Alive"]]
    return min(sizes, default=0.0)
