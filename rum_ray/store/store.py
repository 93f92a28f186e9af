"""The store: artifacts by key, checkpoints of running jobs, and locks."""

import contextlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rum_ray.errors import DamagedError, MissingError, StoreError
from rum_ray.files import locked
from rum_ray.store.artifact import Artifact, Key, check_same, parse, parse_provenance
from rum_ray.store.bucket import without_keys
from rum_ray.store.packs import PACKED, Packs
from rum_ray.store.places import Folder, place_of, read_many

LOGGER = logging.getLogger("rum_ray")
CACHE = "cache"
"""Folder of a local store for files that are no artifacts and may be deleted."""
LIST_FROM = 100
"""Number of keys from which a folder is listed instead of asking for each key."""
WRITES = 3
"""Attempts to write an artifact whose name something else has: a damaged file, or no file."""


class Store:
    """Artifacts in a local folder, or under a URI such as s3://bucket/path.

    Attributes:
        root: the URI, or the absolute path of the folder; `shown` leaves out the keys of a URI.
    """

    def __init__(self, root: str | Path) -> None:
        """Open a store; nothing is written before the first artifact is saved.

        Raises:
            StoreError: the URI is invalid.
        """
        self.root = str(root)
        if "://" not in self.root:
            self.root = str(Path(root).expanduser().absolute())
        self.shown = without_keys(self.root)
        self._place = place_of(self.root)

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.root,)

    @property
    def folder(self) -> Path | None:
        """The folder of a local store; None for a store at another place."""
        return Path(self._place.base) if isinstance(self._place, Folder) else None

    @cached_property
    def _packs(self) -> Mapping[str, Packs]:
        """The packs, by kind."""
        return {kind: Packs(self._place, kind) for kind in PACKED}

    def path(self, key: Key) -> str:
        """Return the path of an artifact's own file, which need not exist."""
        return f"{self._place.base}/{_file(key)}"

    def refresh(self) -> None:
        """Forget what was known of packs; another process may have removed damaged artifacts."""
        self.__dict__.pop("_packs", None)

    def has(self, key: Key) -> bool:
        """Return True if the store has the artifact."""
        with self._errors("read"):
            packs = self._packs.get(key.kind)
            if packs is not None and packs.knows(key.digest):
                return True
            if self._place.exists(_file(key)):
                return True
            return packs is not None and packs.entry(key.digest) is not None

    def have(self, keys: Sequence[Key]) -> list[bool]:
        """Return, per key, True if the store has the artifact.

        For many keys of a kind, this is one listing of their folder and of its packs.
        """
        counts = Counter(key.kind for key in keys)
        listed = {kind for kind, count in counts.items() if count >= LIST_FROM}
        with self._errors("read"):
            # In this order, an artifact that is packed meanwhile is found.
            alone = {kind: self._place.sizes(kind).keys() for kind in listed}
            packed = {kind: self._packs[kind].index() for kind in listed & PACKED}
        return [
            f"{key.digest}.safetensors" in alone[key.kind] or key.digest in packed.get(key.kind, ())
            if key.kind in listed
            else self.has(key)
            for key in keys
        ]

    def find(self, key: Key) -> Artifact | None:
        """Return the verified artifact or None; a damaged file is quarantined and logged."""
        try:
            return self.load(key)
        except MissingError as error:
            if isinstance(error, DamagedError):
                LOGGER.warning("%s", error)
            return None

    def load(self, key: Key) -> Artifact:
        """Return the verified artifact; a damaged file is quarantined.

        Raises:
            DamagedError: the artifact was damaged; now it is missing.
            MissingError: the artifact is missing.
            StoreError: the store cannot be read.
        """
        packed = False
        with self._errors("read"):
            content = self._place.read(_file(key))
            if content is None and key.kind in PACKED:
                content, packed = self._packs[key.kind].read(key.digest), True
        name = f"{key.kind} {key.digest[:12]}"
        if content is None:
            raise MissingError(f"{name} is not in the store {self.shown}.")
        try:
            return parse(key, content, self.path(key))
        except StoreError as error:
            with self._errors("move a damaged file in"):
                if packed:
                    self._packs[key.kind].repair(key.digest)
                else:
                    self._quarantine(key)
            raise DamagedError(
                f"{name} was damaged: its file does not match its checksum, and is now in "
                f"{self._place.base}/quarantine. A run computes it again."
            ) from error

    def _quarantine(self, key: Key) -> None:
        """Move the artifact's own file away, or whatever has its name."""
        target = f"quarantine/{key.kind}-{key.digest}-{uuid.uuid4().hex}"
        self._place.move(_file(key), target)

    def load_each(self, keys: Sequence[Key]) -> Iterator[tuple[int, Artifact]]:
        """Yield number and artifact of each key, in the order of the files of the store.

        Only one file is held at a time, and a pack is read once. After a missing or damaged
        artifact, the others are only checked, so all damage is found at once.

        Args:
            keys: distinct keys.

        Raises:
            MissingError: an artifact is missing or damaged; the message names the first one.
            StoreError: the store cannot be read.
        """
        errors: list[MissingError] = []
        for number, content in self._contents(keys):
            try:
                artifact = self._parse_or_load(keys[number], content)
            except MissingError as error:
                errors.append(error)
                continue
            if not errors:
                yield number, artifact
        if errors:
            more = f" ({len(errors)} artifacts are)" if errors[1:] else ""
            raise MissingError(f"{errors[0]}{more}")

    def _contents(self, keys: Sequence[Key]) -> Iterator[tuple[int, bytes | None]]:
        """Yield number and file of each key, in the order of the files of the store."""
        numbers = {key.digest: number for number, key in enumerate(keys)}
        with self._errors("read"):
            for kind in {key.kind for key in keys} & PACKED:
                names = [key.digest for key in keys if key.kind == kind]
                for name, packed in self._packs[kind].read_packs(names):
                    yield numbers.pop(name), packed
            rest = [*numbers.values()]
            files = [(_file(keys[number]), 0, None) for number in rest]
            yield from zip(rest, read_many(self._place, files), strict=True)

    def _parse_or_load(self, key: Key, content: bytes | None) -> Artifact:
        """Return the artifact in this content; if it is damaged or missing, load it."""
        if content is not None:
            with contextlib.suppress(StoreError):
                return parse(key, content, self.path(key))
        return self.load(key)

    def provenance(self, key: Key) -> dict[str, Any]:
        """Return time, host and duration of the computation of an artifact; empty if unknown."""
        with self._errors("read"):
            content = self._place.read(_file(key, "json"))
            if content is None and key.kind in PACKED:
                content = self._packs[key.kind].provenance(key.digest)
        return parse_provenance(content or b"{}")

    def save(self, key: Key, artifact: Artifact, provenance: Mapping[str, Any]) -> None:
        """Save an artifact; an existing artifact of the same key must have the same content.

        Raises:
            IntegrityError: the store has other content under this key.
            StoreError: the store cannot be written.
        """
        made, content = json.dumps(provenance, sort_keys=True).encode(), artifact.content(key)
        with self._errors("write to"):
            self._place.create(_file(key, "json"), made)
            for _ in range(WRITES):
                if self._place.create(_file(key), content):
                    return self._check_packed(key, artifact)
                existing = self.find(key)
                if existing is not None:
                    return check_same(key, artifact, existing)
                self._quarantine(key)
        raise StoreError(
            f"cannot write {self.path(key)}: other files appear under this name. Remove them."
        )

    def _check_packed(self, key: Key, artifact: Artifact) -> None:
        """Compare an artifact with the one in a pack, whose own file was removed before."""
        packs = self._packs.get(key.kind)
        packed = packs and packs.read(key.digest)
        if packs and packed and packs.is_intact(key.digest, packed):
            self._place.remove([_file(key), _file(key, "json")])
            check_same(key, artifact, parse(key, packed, self.path(key)))
        elif packs and packed:
            packs.repair(key.digest)

    def pack(self, kinds: Collection[str]) -> None:
        """Merge small artifacts of these kinds into packs, if the kinds are packed.

        A pack has a thousand artifacts; fewer stay as they are. Other processes may read, write and
        pack meanwhile.
        """
        try:
            for kind in PACKED & {*kinds}:
                self._packs[kind].pack()
        except OSError as error:
            # Nothing depends on packs.
            LOGGER.warning("the store %s was not packed: %s.", self.shown, error)

    def lock(self, key: Key) -> contextlib.AbstractContextManager[None]:
        """Lock a key, so that one process computes the artifact while the others wait for it.

        A store at a URI has no locks: no process waits, and a repeated computation costs only time.
        """
        if self.folder is None:
            return contextlib.nullcontext()
        return locked(Path(self.path(key)).with_suffix(".lock"))

    def remove(self, keys: Collection[Key]) -> None:
        """Remove artifacts with provenance and checkpoints; missing ones are no error."""
        with self._errors("write to"):
            for kind in PACKED & {key.kind for key in keys}:
                self._packs[kind].remove([key.digest for key in keys if key.kind == kind])
            ends = ("safetensors", "json")
            self._place.remove([_file(key, end) for key in keys for end in ends])
        for key in keys:
            self.remove_checkpoints(f"{key.digest}-")

    def discard(self, kind: str) -> None:
        """Remove all artifacts of a kind, except temporary files of concurrent writers."""
        with contextlib.suppress(OSError):
            names = [name for name in self._place.sizes(kind) if not name.startswith(".")]
            self._place.remove([f"{kind}/{name}" for name in names])
            if kind in PACKED:
                self._packs[kind].discard()

    def checkpoint(self, name: str) -> bytes | None:
        """Return a checkpoint of a job; None if there is none."""
        with self._errors("read"):
            return self._place.read(f"states/{name}")

    def save_checkpoint(self, name: str, content: bytes) -> None:
        """Write a checkpoint atomically; an existing one of the same name is replaced."""
        with self._errors("write to"):
            self._place.replace(f"states/{name}", content)

    def remove_checkpoints(self, prefix: str) -> None:
        """Remove the checkpoints whose names begin with `prefix`."""
        with self._errors("write to"):
            names = self._place.sizes("states", prefix)
            self._place.remove([f"states/{name}" for name in names])

    @property
    def bookkeeping(self) -> str:
        """Folder of Ray's own records of runs; no result depends on them."""
        path, mark, query = self.root.partition("?")
        return f"{path}/ray{mark}{query}"

    @contextlib.contextmanager
    def _errors(self, act: str) -> Iterator[None]:
        """Turn an OSError of the place into a StoreError."""
        try:
            yield
        except OSError as error:
            text = f"cannot {act} the store {self.shown}: {error}."
            if act != "read":
                text += " Free space, or name another --store. Saved artifacts stay valid."
            raise StoreError(text) from error


def _file(key: Key, suffix: str = "safetensors") -> str:
    """Return the path of an artifact's own file, or of its provenance."""
    return f"{key.kind}/{key.digest}.{suffix}"
