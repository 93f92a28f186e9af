"""Where the files of a store lie: a folder, an S3 bucket, or another file system of pyarrow.

All three have the same few operations. Paths are relative to the root of the store, with "/".
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from pyarrow import fs

from rum_ray.errors import StoreError
from rum_ray.files import open_regular, write_bytes, write_once
from rum_ray.store.bucket import Bucket, without_keys

CONNECTIONS = 16
"""Number of files that are read at a time where a request takes much longer than its transfer."""


class Place(Protocol):
    """The files of a store. Every operation raises OSError if it fails."""

    base: str
    """The root, as the prefix of all paths."""

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes | None:
        """Return a file, or the bytes [start, end) of it; None if there is no such file."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write a new file atomically; return False, without a change, if it exists."""
        ...

    def replace(self, path: str, content: bytes) -> None:
        """Write a file atomically; an existing file is replaced."""
        ...

    def exists(self, path: str) -> bool:
        """Return True if the file exists."""
        ...

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int]:
        """Return the bytes of the files of a folder by name; their names begin with `prefix`."""
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files; missing ones are no error."""
        ...

    def move(self, path: str, target: str) -> None:
        """Move a file, unless another process has moved it."""
        ...


def place_of(root: str) -> Place:
    """Return the place of a store.

    Args:
        root: the absolute path of a folder, or a URI.

    Raises:
        StoreError: the URI is invalid.
    """
    if "://" not in root:
        return Folder(root)
    try:
        if root.startswith("s3://"):
            return Bucket(root)
        files, base = fs.FileSystem.from_uri(root)
    except (OSError, ValueError) as error:
        raise StoreError(f"store '{without_keys(root)}' cannot be opened: {error}") from error
    return Folder(base) if isinstance(files, fs.LocalFileSystem) else Remote(files, base)


def read_many(place: Place, parts: Sequence[tuple[str, int, int | None]]) -> Iterator[bytes | None]:
    """Yield each part of a file, or None; those of a network are read several at a time.

    Args:
        place: the files of the store.
        parts: path, start and end of each; see `Place.read`.
    """
    if isinstance(place, Folder):
        yield from (place.read(*part) for part in parts)
        return
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        # Bounded, so that little more is held than the caller has asked for.
        for start in range(0, len(parts), step := 4 * CONNECTIONS):
            yield from pool.map(lambda part: place.read(*part), parts[start : start + step])


class Folder:
    """A folder of this machine, or of a network that is mounted as one."""

    def __init__(self, base: str) -> None:
        self.base = base

    def path(self, path: str) -> Path:
        """Return the absolute path."""
        return Path(self.base) / path

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes | None:
        """Return a file or a part of it; None if there is none, or something that is no file."""
        place = f"{self.base}/{path}"
        try:
            with open_regular(place) as file:
                file.seek(start)
                return file.read(-1 if end is None else end - start)
        except OSError:
            if Path(place).is_file():
                raise
            return None

    def create(self, path: str, content: bytes) -> bool:
        """Write a new file; it is linked into place once it is complete."""
        return write_once(self.path(path), content)

    def replace(self, path: str, content: bytes) -> None:
        """Write a file or replace it."""
        write_bytes(self.path(path), content)

    def exists(self, path: str) -> bool:
        """Return True if the file exists."""
        return self.path(path).is_file()

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int]:
        """Return the bytes of the files of a folder by name."""
        found = {}
        try:
            entries = [*os.scandir(self.path(folder))]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        for entry in entries:
            # Another process may remove a file at any time.
            with contextlib.suppress(FileNotFoundError):
                if entry.name.startswith(prefix) and entry.is_file():
                    found[entry.name] = entry.stat().st_size
        return found

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files."""
        for path in paths:
            self.path(path).unlink(missing_ok=True)

    def move(self, path: str, target: str) -> None:
        """Move a file."""
        self.path(target).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path(path).rename(self.path(target))


class Remote:
    """A file system of pyarrow, such as gs:// or abfs://.

    pyarrow cannot write on the condition that there is no file. A new file is therefore read back:
    the second of two writers finds bytes that are not its own, unless it writes while the first
    one reads.
    """

    def __init__(self, files: Any, base: str) -> None:
        self.files, self.base = files, base

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes | None:
        """Return a file or a part of it; None if there is none."""
        try:
            with self.files.open_input_file(f"{self.base}/{path}") as file:
                file.seek(start)
                content: bytes = file.read(None if end is None else end - start)
        except FileNotFoundError:
            return None
        return content

    def create(self, path: str, content: bytes) -> bool:
        """Write a new file; return False if it exists, or if another writer has replaced it."""
        if self.exists(path):
            return False
        self.replace(path, content)
        return self.read(path) == content

    def replace(self, path: str, content: bytes) -> None:
        """Write a file or replace it."""
        with self.files.open_output_stream(f"{self.base}/{path}") as stream:
            stream.write(content)

    def exists(self, path: str) -> bool:
        """Return True if the file exists."""
        kind = self.files.get_file_info(f"{self.base}/{path}").type
        return bool(kind == fs.FileType.File)

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int]:
        """Return the bytes of the files of a folder by name."""
        selector = fs.FileSelector(f"{self.base}/{folder}", allow_not_found=True)
        infos = self.files.get_file_info(selector)
        files = (info for info in infos if info.type == fs.FileType.File)
        return {i.base_name: i.size for i in files if i.base_name.startswith(prefix)}

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self.files.delete_file(f"{self.base}/{path}")

    def move(self, path: str, target: str) -> None:
        """Move a file."""
        self.files.create_dir(f"{self.base}/{target}".rpartition("/")[0], recursive=True)
        with contextlib.suppress(FileNotFoundError):
            self.files.move(f"{self.base}/{path}", f"{self.base}/{target}")
