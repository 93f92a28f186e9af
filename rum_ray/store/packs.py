"""Packs: the small artifacts of a large pool, about a thousand to a file.

A pool of 100,000 models would be 200,000 files in one folder. A pack is a safetensors file whose
arrays are the files of up to 1,000 artifacts, with their provenance. Its name is the digest of its
content, and it never changes. These rules make packing safe at any moment and without locks:

- A pack is complete before the files that it replaces are removed. A killed packer leaves both.
- Two packers of the same files write the same pack. Of different files, some artifacts are in two
  packs, which is harmless: equal keys have equal bits.
- A reader looks for the file first, then in the packs. It reads the header of each pack once, and
  looks for new packs whenever a key is unknown.
- Each artifact keeps its own checksum. If one is damaged, the others of its pack move to a new
  pack, so that one is missing, and recomputed into a file of its own.
"""

import hashlib
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from rum_ray.errors import StoreError
from rum_ray.store.artifact import Key, format_file, header_end, parse, parse_header
from rum_ray.store.places import Place, read_many

PACKED = frozenset({"pool"})
"""Kinds of artifacts that are packed."""
PACK_RECORDS = 1000
"""Number of artifacts of a pack."""
PACK_BYTES = 1 << 26
"""Bytes of a pack that are enough without that number."""
RECORD_BYTES = 1 << 20
"""Largest file that is packed; a larger one, such as a model, is worth a file."""
HEADER_BYTES = 1 << 19
"""Bytes of a pack that are read at once for its header, which has about 270 bytes per artifact."""
WHOLE_FROM = 100
"""Number of artifacts of a pack from which it is read whole."""
RECORD, PROVENANCE = ".safetensors", ".json"
"""Ends of the names of an artifact's two files."""

Entry: TypeAlias = tuple[str, int, int]
"""The name of a pack, and the range of an artifact's bytes in it."""


@dataclass(eq=False)
class Packs:
    """The packs of one kind of artifacts.

    Attributes:
        place: the files of the store.
        kind: kind of the artifacts.
    """

    place: Place
    kind: str
    _known: set[str] = field(default_factory=set)
    _index: dict[str, Entry] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder of the packs."""
        return f"packs/{self.kind}"

    def knows(self, name: str) -> bool:
        """Return True if one of the packs that were read before has the artifact."""
        return name in self._index

    def entry(self, name: str) -> Entry | None:
        """Return the entry of an artifact; packs are listed again if it is unknown."""
        if name not in self._index:
            self.refresh()
        return self._index.get(name)

    def index(self) -> Mapping[str, Entry]:
        """Return the entries of all artifacts by name, up to date."""
        self.refresh()
        return self._index

    def refresh(self) -> None:
        """Read the headers of new packs; read all again if a pack is gone."""
        found = {pack for pack in self.place.sizes(self.folder) if not pack.startswith(".")}
        if self._known - found:
            # Another pack may have what the pack that is gone had, too.
            self._known, self._index = set(), {}
        for pack in sorted(found - self._known):
            self._learn(pack)

    def _learn(self, pack: str) -> None:
        """Read the header of a pack; a pack without a valid header is quarantined."""
        start = self._start(pack)
        try:
            ranges = {} if start is None else _ranges(start)
        except Exception as error:
            # On damaged bytes, the parser raises many types of errors.
            self._quarantine(pack, f"has no valid header ({error})")
            return
        self._known |= set() if start is None else {pack}
        self._index |= {n: (pack, *r) for n, r in ranges.items() if not n.endswith(PROVENANCE)}

    def _start(self, pack: str) -> bytes | None:
        """Return the first bytes of a pack, which have its header; None if the pack is gone."""
        start = self.place.read(f"{self.folder}/{pack}", 0, HEADER_BYTES)
        if start is not None and len(start) < header_end(start) <= PACK_BYTES:
            start = self.place.read(f"{self.folder}/{pack}", 0, header_end(start))
        return start

    def read(self, name: str) -> bytes | None:
        """Return the file of an artifact; None if no pack has it."""
        # A pack is gone if another process has found damage in it.
        for _ in range(2):
            entry = self.entry(name)
            if entry is None:
                return None
            content = self.place.read(f"{self.folder}/{entry[0]}", *entry[1:])
            if content is not None:
                return content
            self.refresh()
        return None

    def provenance(self, name: str) -> bytes | None:
        """Return the provenance of an artifact; None if no pack has it."""
        entry = self.entry(name)
        start = None if entry is None else self._start(entry[0])
        if entry is None or start is None:
            return None
        place = _ranges(start).get(name + PROVENANCE)
        return None if place is None else self.place.read(f"{self.folder}/{entry[0]}", *place)

    def read_packs(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield artifacts by name, pack by pack, as far as they are in packs."""
        by_pack: dict[str, list[str]] = {}
        index = self.index()
        for name in names:
            if name in index:
                by_pack.setdefault(index[name][0], []).append(name)
        few: list[str] = []
        for pack, wanted in by_pack.items():
            if len(wanted) < WHOLE_FROM:
                few += wanted
                continue
            content = self.place.read(f"{self.folder}/{pack}")
            # What is in no pack by now is not yielded.
            if content is not None:
                for name in wanted:
                    yield name, content[index[name][1] : index[name][2]]
        places = [(f"{self.folder}/{index[name][0]}", *index[name][1:]) for name in few]
        for name, record in zip(few, read_many(self.place, places), strict=True):
            if record is not None:
                yield name, record

    def repair(self, name: str) -> None:
        """Remove a damaged artifact: write the intact ones of its pack to a new pack."""
        entry = self._index.get(name)
        content = None if entry is None else self.place.read(f"{self.folder}/{entry[0]}")
        if entry is not None and content is not None:
            files = {n: content[start:end] for n, (start, end) in _ranges(content).items()}
            records = [n for n in files if not n.endswith(PROVENANCE)]
            damaged = {n for n in records if not self.is_intact(n, files[n])}
            if damaged:
                kept = {n: f for n, f in files.items() if n.removesuffix(PROVENANCE) not in damaged}
                self.write(kept)
                self._quarantine(entry[0], f"has {len(damaged)} damaged artifacts, such as {name}")
        self.refresh()

    def remove(self, names: Collection[str]) -> None:
        """Remove artifacts: write the others of their packs to new packs, then remove the old."""
        index = self.index()
        for pack in {index[name][0] for name in names if name in index}:
            content = self.place.read(f"{self.folder}/{pack}")
            if content is not None:
                files = {n: content[start:end] for n, (start, end) in _ranges(content).items()}
                gone = {*names, *(name + PROVENANCE for name in names)}
                self.write({name: file for name, file in files.items() if name not in gone})
                self.place.remove([f"{self.folder}/{pack}"])
        self.refresh()

    def is_intact(self, name: str, content: bytes) -> bool:
        """Return True if the content is that of the artifact of this name."""
        try:
            parse(Key.named(self.kind, name), content, name)
        except StoreError:
            return False
        return True

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write a pack of these files, unless there are none."""
        if files:
            arrays = {name: np.frombuffer(content, np.uint8) for name, content in files.items()}
            content = format_file(arrays, {})
            name = hashlib.sha256(content).hexdigest()
            self.place.create(f"{self.folder}/{name}{RECORD}", content)

    def _quarantine(self, pack: str, reason: str) -> None:
        """Move a damaged pack away."""
        path = f"{self.folder}/{pack}"
        target = f"quarantine/pack-{self.kind}-{pack}-{uuid.uuid4().hex}"
        self.place.move(path, target)
        logging.getLogger("rum_ray").warning(
            "%s/%s %s. It was moved to %s; damaged artifacts are recomputed.",
            *(self.place.base, path, reason, target),
        )

    def pack(self) -> None:
        """Move artifacts from files of their own to packs, a thousand at a time."""
        sizes = self.place.sizes(self.kind)
        found = {
            name.removesuffix(RECORD): size
            for name, size in sizes.items()
            if name.endswith(RECORD) and not name.startswith(".")
        }
        index = self.index()
        self._remove_copies([name for name in found if name in index])
        left = [n for n in sizes if n.endswith(PROVENANCE) and n.removesuffix(PROVENANCE) in index]
        alone = [n for n in left if n.removesuffix(PROVENANCE) not in found]
        self.place.remove([f"{self.kind}/{name}" for name in alone])
        group: list[str] = []
        total = 0
        for name in sorted(found.keys() - index.keys()):
            if found[name] <= RECORD_BYTES:
                group.append(name)
                total += found[name]
            if len(group) == PACK_RECORDS or total >= PACK_BYTES:
                self._pack(group)
                group, total = [], 0

    def _pack(self, names: Sequence[str]) -> None:
        """Write a pack of these artifacts, then remove their files."""
        records = self._read_files(names, RECORD)
        # A damaged file stays, and its next reader quarantines it.
        intact = {name: record for name, record in records.items() if self.is_intact(name, record)}
        made = self._read_files([*intact], PROVENANCE)
        self.write({**intact, **{name + PROVENANCE: content for name, content in made.items()}})
        self._remove_files([*intact])

    def _remove_copies(self, names: Sequence[str]) -> None:
        """Remove the files of artifacts that are in a pack with the same bits."""
        packed = dict(self.read_packs(names))
        alone = self._read_files(names, RECORD)
        self._remove_files([name for name in packed if alone.get(name) == packed[name]])

    def _read_files(self, names: Sequence[str], suffix: str) -> dict[str, bytes]:
        """Return the files of artifacts by name, as far as they exist."""
        files = [(f"{self.kind}/{name}{suffix}", 0, None) for name in names]
        contents = read_many(self.place, files)
        found = zip(names, contents, strict=True)
        return {name: content for name, content in found if content is not None}

    def _remove_files(self, names: Sequence[str]) -> None:
        """Remove the files of artifacts: first all artifacts, then their provenance."""
        for suffix in (RECORD, PROVENANCE):
            self.place.remove([f"{self.kind}/{name}{suffix}" for name in names])

    def discard(self) -> None:
        """Remove all packs."""
        self.place.remove([f"{self.folder}/{pack}" for pack in self.place.sizes(self.folder)])
        self.refresh()


def _ranges(content: bytes) -> dict[str, tuple[int, int]]:
    """Return the range of each file of a pack, from the first bytes of the pack."""
    data, header = header_end(content), parse_header(content)
    offsets = {name: entry["data_offsets"] for name, entry in header.items()}
    if data > len(content) or not all(0 <= start <= end for start, end in offsets.values()):
        raise ValueError("a length is invalid")
    return {name: (data + start, data + end) for name, (start, end) in offsets.items()}
