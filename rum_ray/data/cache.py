"""A cache of decoded images in one SQLite file, keyed by the bytes of each image.

An image that is added to a source is decoded alone, and one that is removed costs nothing. The file
may be deleted. Where it cannot be used, images are decoded as without it.
"""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import features

from rum_ray.data.pixels import Batch, DecodeBatch, Layout, Pixels

FILE = "images.sqlite"
WAIT_SECONDS = 30.0
"""A process waits so long for another one that writes."""
SUM = 32
"""Bytes of the SHA-256 before the pixels of a record."""


class PixelCache:
    """Decodes an image once per content, layout and version of the decoder."""

    def __init__(self, folder: Path, decode: DecodeBatch) -> None:
        """Use the cache in a folder; both are created with the first image.

        Args:
            folder: of the cache.
            decode: decodes images that the cache lacks.
        """
        self._path, self._decode = folder / FILE, decode

    def decode(self, batch: Batch, layout: Layout) -> Sequence[Pixels]:
        """Return the pixels of a batch of encoded images; only unknown ones are decoded."""
        keys = [b"" if data is None else _key(data, layout) for _, data in batch]
        found = self._read(keys, layout)
        missing = [at for at, key in enumerate(keys) if key not in found]
        decoded = self._decode([batch[at] for at in missing], layout) if missing else []
        fresh = {keys[at]: pixels for at, pixels in zip(missing, decoded, strict=True)}
        self._write(fresh)
        return [fresh[key] if key in fresh else found[key] for key in keys]

    def _read(self, keys: Sequence[bytes], layout: Layout) -> dict[bytes, Pixels]:
        """Return the known images by key; damaged records are unknown."""
        assert layout.size is not None
        found: dict[bytes, Pixels] = {}
        with contextlib.suppress(sqlite3.Error, OSError), self._database() as database:
            for key in keys:
                row = database.execute("SELECT value FROM pixels WHERE key = ?", (key,)).fetchone()
                checksum, content = (b"", b"") if row is None else (row[0][:SUM], row[0][SUM:])
                if checksum == hashlib.sha256(content).digest():
                    found[key] = np.frombuffer(content, np.uint8).reshape(-1, *layout.size)
        return found

    def _write(self, images: dict[bytes, Pixels]) -> None:
        """Add images in one transaction."""
        with contextlib.suppress(sqlite3.Error, OSError), self._database() as database:
            contents = ((key, np.ascontiguousarray(x).tobytes()) for key, x in images.items())
            rows = ((key, hashlib.sha256(x).digest() + x) for key, x in contents)
            database.executemany("INSERT OR REPLACE INTO pixels VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            # SQLite would let others read the file.
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        opened = sqlite3.connect(self._path, timeout=WAIT_SECONDS)
        with contextlib.closing(opened) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS pixels (key BLOB PRIMARY KEY, value BLOB)")
            yield database


def _key(data: bytes, layout: Layout) -> bytes:
    """Return the key of an encoded image: its bytes, the layout and the decoder."""
    decoder = [features.version(name) for name in ("pil", "jpg", "webp")]
    form = repr((layout.size, layout.fit, layout.exif, decoder))
    return hashlib.sha256(form.encode() + b"\0" + data).digest()
